// What a synchronous call costs this thread, in milliseconds of CPU: a machine that does much else does not change it.

export function cpuOf<T>(run: () => T): readonly [T, number] {
  const before = process.threadCpuUsage();
  const result = run();
  const { user, system } = process.threadCpuUsage(before);
  return [result, (user + system) / 1000];
}
