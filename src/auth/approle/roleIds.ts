// A role's id: state of the role, made at random when it is first asked for, or chosen. `role/<role>` says what it is,
// `role-id/<hash>` leads from it to the role's name.
// Must hold: an id belongs to one role; only the id that the role's own entry names leads to it, whatever index is left.

import { randomUUID } from "node:crypto";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { MountContext } from "../../sdk/mount.ts";
import type { ViewOp } from "../../sdk/view.ts";
import { longestId, roleIdKey, roleKey } from "./identifiers.ts";

interface Role {
  readonly role_id: string;
}

interface Index {
  readonly name: string;
}

export class RoleIds {
  readonly #context: MountContext;

  constructor(context: MountContext) {
    this.#context = context;
  }

  #stateKey(name: string): string {
    return `role/${roleKey(this.#context.mac("ids"), name)}`;
  }

  #indexKey(roleId: string): string {
    return `role-id/${roleIdKey(this.#context.mac("ids"), roleId)}`;
  }

  /** The role whose id this is; null for none, after the same reads. */
  async nameOf(roleId: string): Promise<string | null> {
    const { view } = this.#context;
    const index = await view.getJson<Index>(this.#indexKey(roleId));
    const name = index?.value.name ?? "";
    const state = await view.getJson<Role>(this.#stateKey(name));
    return index !== null && state?.value.role_id === roleId ? name : null;
  }

  /** Null where none was made yet. */
  async find(name: string): Promise<string | null> {
    return (await this.#context.view.getJson<Role>(this.#stateKey(name)))?.value.role_id ?? null;
  }

  /** Made on first use. */
  async of(name: string): Promise<string> {
    const known = await this.find(name);
    if (known !== null) return known;
    try {
      const roleId = randomUUID();
      await this.#context.view.write([
        { key: this.#indexKey(roleId), value: { name }, expect: "absent" },
        { key: this.#stateKey(name), value: { role_id: roleId }, expect: "absent" },
      ]);
      return roleId;
    } catch (error) {
      // Whoever was first made it.
      const made = await this.find(name);
      if (!isVaultError(error, "conflict") || made === null) throw error;
      return made;
    }
  }

  async set(name: string, given: string): Promise<void> {
    // A login's is trimmed too.
    const roleId = given.trim();
    if (roleId === "") throw new VaultError("invalid", "missing role_id");
    if (Buffer.byteLength(roleId) > longestId) {
      throw new VaultError("invalid", `role_id is longer than maximum of ${longestId} bytes`);
    }
    const { view } = this.#context;
    const owner = await this.nameOf(roleId);
    if (owner === name) return;
    if (owner !== null) throw new VaultError("invalid", "role_id already in use");
    const [index, state] = [
      await view.getJson<Index>(this.#indexKey(roleId)),
      await view.getJson<Role>(this.#stateKey(name)),
    ];
    const ops: ViewOp[] = [
      { key: this.#indexKey(roleId), value: { name }, expect: index?.version ?? "absent" },
      { key: this.#stateKey(name), value: { role_id: roleId }, expect: state?.version ?? "absent" },
    ];
    if (state !== null) ops.push({ key: this.#indexKey(state.value.role_id), value: null });
    await view.write(ops);
  }

  async remove(name: string): Promise<void> {
    const { view } = this.#context;
    const state = await view.getJson<Role>(this.#stateKey(name));
    if (state === null) return;
    await view.write([
      { key: this.#stateKey(name), value: null },
      { key: this.#indexKey(state.value.role_id), value: null },
    ]);
  }
}
