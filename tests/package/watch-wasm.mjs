// Loaded into a server before all else (`node --import`): says so when anything compiles wasm that is Driftline's engine.

const isEngine = (module) => WebAssembly.Module.exports(module).some(({ name }) => name === 'session_open');

function tell(module) {
  if (module instanceof WebAssembly.Module && isEngine(module)) console.error('the engine was loaded');
  return module;
}

const { Instance } = WebAssembly;
WebAssembly.Instance = new Proxy(Instance, {
  construct(target, [module, ...rest]) {
    return Reflect.construct(target, [tell(module), ...rest]);
  },
});
for (const name of ['instantiate', 'instantiateStreaming']) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (source, ...rest) => {
    const result = await original.call(WebAssembly, source, ...rest);
    tell(result.module ?? source);
    return result;
  };
}
