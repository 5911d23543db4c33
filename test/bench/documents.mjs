// A policy repository as a company of some size has it: half policies, then people, groups, and a few logins of the vault's
// own; five documents a file, a folder a team.

const document = (kind, name, spec) =>
  `apiVersion: writ/v1\nkind: ${kind}\nmetadata:\n  name: ${name}\n  owner: team-${name.length}\nspec:\n${spec}\n`;

const list = (items) => `[${items.join(", ")}]`;

function policy(at) {
  const rules = Array.from({ length: 2 + (at % 4) }, (_, rule) => {
    const path = rule % 2 === 0 ? `secret/data/app${at}/${rule}/*` : `secret/metadata/app${at}/+/x${rule}`;
    return `    - path: ${path}\n      capabilities: ${list(rule % 2 === 0 ? ["create", "read", "update"] : ["list", "read"])}`;
  });
  return document("Policy", `app${at}`, `  rules:\n${rules.join("\n")}`);
}

const entity = (at, policies) =>
  document(
    "Entity",
    `person${at}`,
    `  aliases:\n    - mount: userpass\n      name: person${at}\n  policies: ${list([`app${at % policies}`])}\n  metadata:\n    team: team${at % 40}\n    cost_center: "${1_000 + at}"`,
  );

const group = (at, policies, people) =>
  document(
    "Group",
    `group${at}`,
    `  policies: ${list([0, 1, 2].map((step) => `app${(at * 3 + step) % policies}`))}\n  member_entities: ${list(Array.from({ length: 8 }, (_, step) => `person${(at * 8 + step) % people}`))}`,
  );

const user = (at, policies) =>
  document(
    "UserpassUser",
    `person${at}`,
    `  mount: userpass\n  token_policies: ${list([`app${at % policies}`])}\n  token_ttl: 1h\n  password: { from_secret: { path: secret/data/seed, key: password } }`,
  );

/** `{ path: content }` of so many documents in all, those that every round needs included. */
export function repository(count, { users }) {
  const policies = Math.floor(count * 0.5);
  const groups = Math.floor(count * 0.1);
  const people = count - policies - groups - users - 3;
  const all = [
    ...Array.from({ length: policies }, (_, at) => policy(at)),
    ...Array.from({ length: people }, (_, at) => entity(at, policies)),
    ...Array.from({ length: groups }, (_, at) => group(at, policies, people)),
    ...Array.from({ length: users }, (_, at) => user(at, policies)),
  ];
  const files = base(true);
  for (let at = 0; at < all.length; at += 5)
    files[`team${(at / 5) % 40}/${at / 5}.yaml`] = all.slice(at, at + 5).join("---\n");
  return files;
}

/** The mounts, and the policy that lets the client of the bench read, or does not yet. */
export const base = (open) => ({
  "mounts.yaml": `${document("SecretEngine", "secret", '  type: kv\n  options: { version: "2" }')}---\n${document("AuthMethod", "userpass", "  type: userpass")}`,
  "reader.yaml": reader(open ? "secret/data/bench" : "secret/data/nothing"),
});

export const reader = (path) =>
  document("Policy", "reader", `  rules:\n    - path: ${path}\n      capabilities: [read]`);
