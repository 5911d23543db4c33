export function environmentOf(
  name: "age" | "fish" | "jq" | "strace" | "wrk" | "zsh",
): { PATH: string; LD_LIBRARY_PATH: string } | null;
export function pythonOf(
  name: "hvac" | "schemathesis",
): { env: { PATH: string; PYTHONPATH: string }; bin: string } | null;
