/** The address of the engine, as a bundler gives it that treats `.wasm` as a file: for `open({ wasm })`. */
declare const url: string;
export default url;
