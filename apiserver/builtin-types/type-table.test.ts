import { describe, expect, it } from 'vitest';
import { allObjectTypes, builtinType, isScalarName, objectType } from './type-table.ts';

describe('built-in types', () => {
  it('names only types that are in the table', () => {
    const unknown = [...allObjectTypes()].flatMap((type) =>
      type.wireFields
        .filter((field) => !isScalarName(field.type) && objectType(field.type) === undefined)
        .map((field) => `${type.name}.${field.name}: ${field.type}`),
    );
    expect(unknown).toEqual([]);
  });

  it('numbers the fields of a type apart', () => {
    for (const type of allObjectTypes()) {
      const numbers = type.wireFields.map((field) => field.number);
      expect(new Set(numbers).size, type.name).toBe(numbers.length);
    }
  });

  it('stands the fields of inlined messages in their parent', () => {
    expect(objectType('core.Volume')?.fields.get('configMap')?.type).toBe('core.ConfigMapVolumeSource');
    expect(objectType('core.ConfigMapVolumeSource')?.fields.get('name')?.type).toBe('string');
    expect(objectType('core.Probe')?.fields.get('exec')?.type).toBe('core.ExecAction');
  });

  it('knows merge keys', () => {
    const ports = objectType('core.Container')?.fields.get('ports');
    expect(ports?.merge).toEqual({ kind: 'keyed', keys: ['containerPort'] });
    expect(ports?.apply).toEqual({ kind: 'keyed', keys: ['containerPort', 'protocol'] });
    expect(objectType('meta.ObjectMeta')?.fields.get('finalizers')?.merge).toEqual({ kind: 'unite' });
    expect(objectType('core.NodeSpec')?.fields.get('taints')?.merge).toEqual({ kind: 'replace' });
  });

  it('finds a type by apiVersion and kind', () => {
    expect(builtinType('v1', 'Pod')?.name).toBe('core.Pod');
    expect(builtinType('rbac.authorization.k8s.io/v1', 'Role')?.name).toBe('rbac.Role');
    expect(builtinType('devices.kubeedge.io/v1beta1', 'Device')).toBeUndefined();
    expect(builtinType('v1', '__proto__')).toBeUndefined();
  });
});
