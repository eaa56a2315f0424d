/** What both ends say of a join token that is too old: the cloud when it is shown one, the edge by its own clock. */

export function expiredTokenText(expiredAgoMs: number): string {
  return `token expired ${spell(expiredAgoMs)} ago; make a new one on the cloud with \`keadm gettoken\``;
}

function spell(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return 'less than a minute';
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}
