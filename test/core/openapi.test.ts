import SwaggerParser from "@apidevtools/swagger-parser";
import { describe, expect, test } from "vitest";
import { webhookPath } from "../../src/api/app.ts";
import { lifecycle } from "../../src/api/lifecycle.ts";
import { careOf } from "../../src/api/shares.ts";
import type { Document } from "../../src/core/openapi/document.ts";
import { outsideRoutes } from "../../src/core/openapi/outside.ts";
import type { RouteShape } from "../../src/core/openapi/paths.ts";
import type { Response } from "../../src/sdk/request.ts";
import { type Harness, harness, refusal } from "./harness.ts";

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: { readonly $ref: string } }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}
type Item = Readonly<Record<string, Operation>> & Readonly<Record<`x-${string}`, unknown>>;
type Body = { readonly properties: Readonly<Record<string, object>>; readonly required?: readonly string[] };

const methodsOf = {
  read: "get",
  list: "get",
  scan: "get",
  update: "post",
  create: "post",
  patch: "patch",
  delete: "delete",
};
type Verb = keyof typeof methodsOf;
const publishedAt = ({ on }: RouteShape): Verb[] =>
  (Object.keys(on) as Verb[]).filter((operation) => !on[operation]?.unpublished);
const parsed = (response: Response): Record<string, unknown> =>
  JSON.parse(response.text?.body ?? "null") as Record<string, unknown>;

async function vault(): Promise<Harness> {
  const h = await harness();
  await h.ask("update", "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  await h.ask("update", "sys/mounts/team/old-kv", { type: "kv", options: { version: "1" } });
  await h.ask("update", "sys/auth/userpass", { type: "userpass" });
  await h.ask("update", "sys/auth/approle", { type: "approle" });
  return h;
}

async function documentOf(h: Harness, token = h.root, data = {}): Promise<Document> {
  return parsed(await h.ask("read", "sys/internal/specs/openapi", data, token)) as unknown as Document;
}

const itemOf = (document: Document, path: string): Item => document.paths[path] as unknown as Item;

function bodyOf(document: Document, operation: Operation | undefined): Body {
  const name = operation?.requestBody?.content["application/json"]?.schema.$ref.split("/").at(-1) ?? "";
  return (document.components["schemas"] as Record<string, Body>)[name] ?? { properties: {} };
}

async function reader(h: Harness): Promise<string> {
  await h.ask("update", "sys/policies/acl/reader", { policy: 'path "secret/data/a" { capabilities = ["read"] }' });
  const { auth } = await h.ask("update", "auth/token/create", { policies: ["reader"] });
  return auth?.client_token ?? "";
}

describe("the document", () => {
  test("is valid OpenAPI 3.0, with mount paths and without", async () => {
    const h = await vault();
    for (const generic_mount_paths of [false, true]) {
      const document = await documentOf(h, h.root, { generic_mount_paths });
      expect(document.openapi).toBe("3.0.2");
      const copy = structuredClone(document) as unknown as Parameters<typeof SwaggerParser.validate>[0];
      await SwaggerParser.validate(copy);
    }
    const posted = await h.ask("update", "sys/internal/specs/openapi", { generic_mount_paths: true });
    expect(posted.text).toEqual(
      (await h.ask("read", "sys/internal/specs/openapi", { generic_mount_paths: "true" })).text,
    );
  });

  test("has every operation of every route, at a path that leads to that route", async () => {
    const h = await vault();
    const document = await documentOf(h);
    const seen = new Map<object, Set<string>>();
    for (const [path, item] of Object.entries(document.paths)) {
      const asked = path.slice(1).replace(/\{\w+\}/g, "some");
      const mounted = h.vault.core?.generation.mounts.route(asked);
      const below = asked.slice(mounted?.path.length ?? 0);
      const outside = mounted?.path === "sys/" && outsideRoutes.find((route) => route.path === below);
      const route = outside || mounted?.match(below)?.route;
      if (!route) throw new Error(`${path} leads nowhere`);
      const found = Object.keys(item).filter((name) => ["get", "post", "patch", "delete"].includes(name));
      const served = publishedAt(route).map((operation) => methodsOf[operation]);
      expect(found.sort(), path).toEqual([...new Set(served)].sort());
      seen.set(route, new Set(found));
    }
    const all = [...(h.vault.core?.generation.mounts ?? [])].flatMap((mounted) => mounted.routes);
    const told = [...all, ...outsideRoutes].filter((route) => publishedAt(route).length > 0);
    expect(told.filter((route) => !seen.has(route))).toEqual([]);
  });

  test("names operations once, and says of each what Vault's clients read", async () => {
    const h = await vault();
    const document = await documentOf(h);
    const ids = Object.values(document.paths).flatMap((item) =>
      Object.values(item as Readonly<Record<string, Operation | undefined>>).flatMap(
        (operation) => operation?.operationId ?? [],
      ),
    );
    expect(new Set(ids).size).toBe(ids.length);
    const users = itemOf(document, "/auth/userpass/users/{name}");
    expect(users["x-vault-createSupported"]).toBe(true);
    expect(users["post"]?.operationId).toBe("userpass-write-users-name");
    const { properties } = bodyOf(document, users["post"]);
    expect(properties["password"]).toMatchObject({ type: "string", "x-vault-displayAttrs": { sensitive: true } });
    expect(properties["token_num_uses"]).toMatchObject({ type: "integer", minimum: 0 });
    expect(properties["token_type"]).toMatchObject({ enum: expect.arrayContaining(["batch"]) as string[] });
    expect(properties["token_policies"]).toMatchObject({ type: "array", items: { type: "string" } });
    expect(itemOf(document, "/auth/userpass/login/{name}")["x-vault-unauthenticated"]).toBe(true);
    expect(itemOf(document, "/sys/seal")["x-vault-sudo"]).toBe(true);
    expect(bodyOf(document, itemOf(document, "/sys/capabilities")["post"]).required).toEqual(["token"]);
    expect(itemOf(document, "/secret/metadata/{path}")["get"]?.parameters).toContainEqual(
      expect.objectContaining({ name: "list", in: "query" }),
    );
    expect(itemOf(document, "/auth/userpass/users")["get"]?.parameters).toContainEqual(
      expect.objectContaining({ name: "list", in: "query", required: true }),
    );
    expect(itemOf(document, "/team/old-kv/{path}")["get"]?.operationId).toBe("kv-team-old-kv-read-path");
  });

  test("tells of the life cycle and the webhook, which the door does not serve, and of shares where they are taken", async () => {
    const document = await documentOf(await vault());
    const outside = outsideRoutes.map((route) => `/v1/sys/${route.path}`).sort();
    expect(outside).toEqual([...Object.keys(lifecycle), webhookPath].sort());
    for (const [path, item] of Object.entries(document.paths)) {
      const post = (item as Item)["post"];
      const takes = path === "/sys/unseal" || careOf(path.slice(1)) === "share";
      expect("key" in bodyOf(document, post).properties, path).toBe(takes);
    }
  });

  test("makes parameters of mount paths where it is asked to, but for those that are fixed", async () => {
    const h = await vault();
    const { paths } = await documentOf(h, h.root, { generic_mount_paths: true });
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        "/{secret_mount_path}/data/{path}",
        "/{team_old_kv_mount_path}/{path}",
        "/auth/{userpass_mount_path}/login/{name}",
        "/auth/token/create",
        "/sys/mounts",
        "/identity/entity/id",
      ]),
    );
    expect(paths["/auth/{userpass_mount_path}/users"]?.parameters).toEqual([
      expect.objectContaining({
        name: "userpass_mount_path",
        in: "path",
        schema: { type: "string", default: "userpass" },
      }),
    ]);
  });

  test("shows a token only the mounts that it can do something in, and nobody anything without one", async () => {
    const h = await vault();
    const { paths } = await documentOf(h, await reader(h));
    const mounts = new Set(Object.keys(paths).map((path) => path.split("/")[1]));
    expect(mounts).toEqual(new Set(["secret", "sys", "identity", "cubbyhole", "auth"]));
    expect(Object.keys(paths).filter((path) => path.startsWith("/auth/") && !path.startsWith("/auth/token/"))).toEqual(
      [],
    );
    for (const token of [null, "", "hvs.unknown"]) {
      expect(await refusal(h.ask("read", "sys/internal/specs/openapi", {}, token))).toMatch(/^unauthenticated/);
    }
  });
});

describe("help", () => {
  const help = async (h: Harness, path: string, token = h.root): Promise<Record<string, unknown>> =>
    parsed(await h.ask("help", path, {}, token));

  test("tells of a path, with a document of it alone", async () => {
    const h = await vault();
    const { help: text, see_also, openapi } = await help(h, "auth/userpass/users/alice");
    expect(text).toMatch(/Request: +users\/alice\nMatching Route: users\/:name\n[^]*GET[^]*token_ttl \(duration\)/);
    expect(see_also).toEqual([]);
    expect(Object.keys((openapi as Document).paths)).toEqual(["/users/{name}"]);
    await SwaggerParser.validate(openapi as Parameters<typeof SwaggerParser.validate>[0]);
  });

  test("tells of all paths at a mount, and of those in front of the door", async () => {
    const h = await vault();
    const { openapi, help: text } = await help(h, "secret");
    expect(Object.keys((openapi as Document).paths)).toContain("/data/{path}");
    expect(text).toContain("data/:path*");
    expect((await help(h, "sys/health"))["help"]).toContain("Matching Route: health");
    expect((await help(h, "sys"))["help"]).toContain("unseal");
    expect(await refusal(h.ask("help", "sys/nothing"))).toMatch(/^not_found: no handler for route "sys\/nothing"/);
    expect(await refusal(h.ask("help", "nothing/here"))).toMatch(/^not_found/);
  });

  test("asks for a valid token and no capability, and runs nothing", async () => {
    const h = await vault();
    const token = await reader(h);
    // sudo, no capability at all, a login.
    for (const path of ["sys/seal", "sys/mounts/x", "secret/config"])
      expect(await help(h, path, token)).toHaveProperty("help");
    for (const path of ["auth/userpass/login/alice", "team/old-kv/a", "nothing/here"]) {
      expect(await refusal(h.ask("help", path, {}, token))).toBe("denied: permission denied");
    }
    for (const path of ["auth/userpass/login/alice", "sys/seal", "sys/health", "nothing"]) {
      for (const none of [null, "hvs.unknown"]) {
        expect(await refusal(h.ask("help", path, {}, none))).toMatch(/^unauthenticated/);
      }
    }
    expect(h.vault.core).not.toBeNull();
  });

  test("takes one use of a token that has some, and stands in the audit", async () => {
    const h = await vault();
    const { auth } = await h.ask("update", "auth/token/create", { policies: ["default"], num_uses: 1 });
    expect(await help(h, "sys/seal", auth?.client_token)).toHaveProperty("help");
    expect(await refusal(h.ask("help", "sys/seal", {}, auth?.client_token ?? ""))).toMatch(/^unauthenticated/);
    const line = h.tape.lines.findLast(
      (one) => one.includes('"operation":"help"') && one.includes('"type":"response"'),
    );
    expect(line).toContain('"path":"sys/seal"');
  });
});
