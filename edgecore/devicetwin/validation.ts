/**
 * Which keys and values a twin takes, with KubeEdge's own reason texts: mappers match on them. The texts say
 * `less than`, the limits are inclusive.
 */

const characters = 'A-Za-z0-9_.,:/@#-';
const keyPattern = new RegExp(`^[${characters}]{1,128}$`);
const valuePattern = new RegExp(`^[${characters}]{0,512}$`);

const charactersInWords =
  'must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and the length of';

export const keyReason = `The key of twin ${charactersInWords} key should be less than 128 bytes`;
export const valueReason = `The value of twin ${charactersInWords} value should be less than 512 bytes`;

/** `__proto__` fits the pattern, but no JSON reader on the way can be trusted to keep it an ordinary key. */
export function isKey(text: string): boolean {
  return keyPattern.test(text) && text !== '__proto__';
}

export function isValue(text: string): boolean {
  return valuePattern.test(text);
}

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

const types: ReadonlySet<string> = new Set(['', 'string', 'int', 'integer', 'float', 'boolean', 'deleted']);

/** Why a value does not fit its type, or undefined when it does. An empty value clears, whatever the type. */
export function typeMismatch(type: string, value: string): string | undefined {
  if (!types.has(type)) return 'the value type is not allowed';
  if (value === '') return undefined;
  switch (type) {
    case 'int':
    case 'integer':
      return isInt64(value) ? undefined : 'the value is not int or integer';
    case 'float':
      return isFloat(value) ? undefined : 'the value is not float';
    case 'boolean':
      return value === 'true' || value === 'false' ? undefined : 'the bool value must be true or false';
    default:
      return undefined;
  }
}

/** The twin's word for a DeviceModel's type. */
export function typeOfModel(modelType: string | undefined): string {
  switch (modelType?.toUpperCase()) {
    case 'INT':
      return 'int';
    case 'FLOAT':
    case 'DOUBLE':
      return 'float';
    case 'BOOLEAN':
      return 'boolean';
    default:
      return 'string';
  }
}

function isInt64(text: string): boolean {
  if (!/^[+-]?\d{1,512}$/.test(text)) return false;
  const value = BigInt(text.replace(/^\+/, ''));
  return value >= int64Min && value <= int64Max;
}

/** What Go reads as a 64-bit float, hexadecimal forms aside. */
function isFloat(text: string): boolean {
  if (/^[+-]?(inf|infinity|nan)$/i.test(text)) return true;
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text)) return false;
  return Number.isFinite(Number(text));
}
