// Audit devices that the API made, beside those of the server config: kept in storage, opened at each unseal like the others.
// Must hold: one is made only where the server config allows it, at that time and at each unseal after; those of the server
// config are not touched here. One that cannot be opened does not keep the vault sealed: nobody could take it away then.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { Mutex } from "../lib/mutex.ts";
import type { ApiBounds, AuditDevice, AuditKeys, AuditPlugin } from "../sdk/audit.ts";
import { isVaultError, VaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";
import type { Broker } from "./broker.ts";

export interface AuditRecord {
  readonly type: string;
  readonly description: string;
  /** As they were given. */
  readonly options: Readonly<Record<string, string>>;
}

/** What the server config lets the API do. */
export interface ApiAudit {
  readonly plugins: readonly AuditPlugin[];
  /** None: nothing. */
  readonly folders: readonly string[];
}

export interface AuditDevicesOptions {
  readonly view: View;
  readonly configured: readonly { readonly name: string; readonly settings: Readonly<Record<string, unknown>> }[];
  readonly api: ApiAudit;
  readonly broker: Broker;
  readonly keys: AuditKeys;
  readonly log: Logger;
  readonly clock: Clock;
}

const deviceName = /^[a-z0-9][a-z0-9_-]{0,62}$/;
const mostDevices = 16;

const invalid = (message: string): VaultError => new VaultError("invalid", message);

export class AuditDevices {
  readonly #options: AuditDevicesOptions;
  readonly #lock = new Mutex();
  readonly #records = new Map<string, AuditRecord>();
  /** Of those that are open: the file that each writes. */
  readonly #paths = new Map<string, string>();

  constructor(options: AuditDevicesOptions) {
    this.#options = options;
  }

  /** Before the broker is open, which gets them. */
  async open(): Promise<readonly AuditDevice[]> {
    const { view, log } = this.#options;
    const devices: AuditDevice[] = [];
    for (const name of await view.list("")) {
      const record = (await view.getJson<AuditRecord>(name))?.value;
      if (record === undefined) continue;
      this.#records.set(name, record);
      try {
        if (this.#isConfigured(name)) throw invalid("the server config has a device of that name");
        devices.push(await this.#open(name, record));
      } catch (error) {
        log.error("an audit device that the API made is left out", { device: name, error });
      }
    }
    return devices;
  }

  /** All that the API made, running or not. */
  get records(): ReadonlyMap<string, AuditRecord> {
    return this.#records;
  }

  enable(name: string, record: AuditRecord): Promise<void> {
    return this.#lock.run("devices", async () => {
      const { api, view, broker } = this.#options;
      if (api.folders.length === 0) {
        throw invalid(
          "the API makes no audit devices here: add one under audit in the server config, or name folders there under audit_folders",
        );
      }
      if (!deviceName.test(name)) throw invalid("the path of an audit device is one word of a-z, 0-9, _ and -");
      if (this.#isConfigured(name) || this.#records.has(name)) throw invalid("path already in use");
      if (this.#records.size >= mostDevices) throw invalid(`there are ${mostDevices} audit devices already`);
      const device = await this.#open(name, record).catch((error: unknown) => {
        throw isVaultError(error, "audit") ? invalid(error.message) : error;
      });
      try {
        await broker.add(device);
      } catch (error) {
        this.#paths.delete(name);
        await device.close();
        throw error;
      }
      await view.write([{ key: name, value: { ...record } }]).catch(async (error: unknown) => {
        this.#paths.delete(name);
        await broker.remove(name);
        throw error;
      });
      this.#records.set(name, record);
    });
  }

  /** Its file stays. One that is not there is disabled already. */
  disable(name: string): Promise<void> {
    return this.#lock.run("devices", async () => {
      if (this.#isConfigured(name)) {
        throw invalid(`audit device "${name}" stands in the server config: it cannot be disabled here`);
      }
      if (!this.#records.has(name)) return;
      await this.#options.broker.remove(name);
      await this.#options.view.write([{ key: name, value: null }]);
      this.#records.delete(name);
      this.#paths.delete(name);
    });
  }

  #isConfigured(name: string): boolean {
    return this.#options.configured.some((one) => one.name === name);
  }

  async #open(name: string, { type, options }: AuditRecord): Promise<AuditDevice> {
    const { api, configured, keys, log, clock } = this.#options;
    const plugin = api.plugins.find((one) => one.type === type);
    if (plugin?.fromApi === undefined) {
      const types = api.plugins.filter((one) => one.fromApi !== undefined).map((one) => one.type);
      throw invalid(`the API makes no audit device of type "${type}"; it makes: ${types.join(", ")}`);
    }
    const taken = [...configured.map(({ settings }) => settings["path"]), ...this.#paths.values()];
    const bounds: ApiBounds = { folders: api.folders, taken: taken.filter((path) => typeof path === "string") };
    const settings = await plugin.fromApi(options, bounds);
    const device = await plugin.open(name, settings, keys, log, clock);
    this.#paths.set(name, settings.path);
    return device;
  }
}
