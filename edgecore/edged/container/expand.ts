/** `$(NAME)` in commands, arguments and values: known names are replaced, unknown ones stay, `$$` is one `$`. */

export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^()]*)\))/g, (found, name: string | undefined) => {
    if (name === undefined) return '$';
    return variables.get(name) ?? found;
  });
}
