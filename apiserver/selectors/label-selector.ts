/** Label selectors: the text form of list requests, and the object form of specs. */

import { listAt, textAt, valueAt } from '../kube-object.ts';
import { badRequest } from '../status-error.ts';

interface Requirement {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | 'absent' | 'gt' | 'lt';
  readonly values: readonly string[];
}

export type LabelMatcher = (labels: Readonly<Record<string, string>> | undefined) => boolean;

const key = '[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?';
const value = '([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?';
const absentPattern = new RegExp(`^!\\s*(${key})$`);
const existsPattern = new RegExp(`^(${key})$`);
const comparePattern = new RegExp(`^(${key})\\s*(==|=|!=|>|<)\\s*(${value})$`);
const setPattern = new RegExp(`^(${key})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const valuePattern = new RegExp(`^${value}$`);

/** Undefined: everything matches. @throws StatusError 400 */
export function parseLabelSelector(text: string | undefined): LabelMatcher | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  return matcher(splitOutsideParentheses(text).map(parseRequirement));
}

/** The `matchLabels`/`matchExpressions` form. An empty selector matches everything. */
export function fromSelectorObject(selector: unknown): LabelMatcher {
  const requirements: Requirement[] = Object.entries(valueAt(selector, 'matchLabels') ?? {}).map(
    ([name, wanted]) => ({ key: name, operator: 'in', values: [String(wanted)] }),
  );
  for (const expression of listAt(selector, 'matchExpressions')) {
    requirements.push(fromExpression(expression));
  }
  return matcher(requirements);
}

const operators: Readonly<Record<string, Requirement['operator']>> = {
  In: 'in',
  NotIn: 'notin',
  Exists: 'exists',
  DoesNotExist: 'absent',
  Gt: 'gt',
  Lt: 'lt',
};

/** One element of `matchExpressions`; an operator that nobody knows matches nothing. */
function fromExpression(expression: unknown): Requirement {
  const operator = textAt(expression, 'operator') ?? '';
  return {
    key: textAt(expression, 'key') ?? '',
    operator: (Object.hasOwn(operators, operator) ? operators[operator] : undefined) ?? 'in',
    values: listAt(expression, 'values').map(String),
  };
}

function matcher(requirements: readonly Requirement[]): LabelMatcher {
  return (labels) => requirements.every((requirement) => matches(requirement, labels ?? {}));
}

function matches(
  { key: name, operator, values }: Requirement,
  labels: Readonly<Record<string, string>>,
): boolean {
  const found = Object.hasOwn(labels, name) ? labels[name] : undefined;
  switch (operator) {
    case 'in':
      return found !== undefined && values.includes(found);
    case 'notin':
      return found === undefined || !values.includes(found);
    case 'exists':
      return found !== undefined;
    case 'absent':
      return found === undefined;
    case 'gt':
      return found !== undefined && Number(found) > Number(values[0]);
    case 'lt':
      return found !== undefined && Number(found) < Number(values[0]);
  }
}

function parseRequirement(part: string): Requirement {
  const text = part.trim();
  const absent = absentPattern.exec(text);
  if (absent?.[1]) return { key: absent[1], operator: 'absent', values: [] };
  const exists = existsPattern.exec(text);
  if (exists?.[1]) return { key: exists[1], operator: 'exists', values: [] };
  const set = setPattern.exec(text);
  if (set?.[1]) {
    const values = (set[4] ?? '').split(',').map((each) => each.trim());
    if (values.every((each) => valuePattern.test(each))) {
      return { key: set[1], operator: set[3] === 'in' ? 'in' : 'notin', values };
    }
  }
  const compared = comparePattern.exec(text);
  if (compared?.[1]) {
    const operator = ({ '!=': 'notin', '>': 'gt', '<': 'lt' } as const)[compared[3] ?? ''] ?? 'in';
    return { key: compared[1], operator, values: [compared[4] ?? ''] };
  }
  throw badRequest(`unable to parse requirement: "${text.slice(0, 200)}" is not a label selector`);
}

function splitOutsideParentheses(text: string): readonly string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === '(') depth += 1;
    else if (text[i] === ')') depth -= 1;
    else if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  return [...parts, text.slice(from)];
}
