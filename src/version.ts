// What the API tells as its version. Clients compare it with Vault's, so it follows Vault's numbering of the API spoken.

export const version = "2.0.0";
