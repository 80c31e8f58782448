// Shortens the names under which a wasm module imports its JavaScript, in both.
//
// wasm-bindgen names an import after what it does and adds a hash of 16 digits. The names are there twice, and hashes do not
// compress: without them an app downloads 2 to 3 KB less.

/** The module with short names, and the JavaScript that offers them. Every import must have one place in the JavaScript. */
export function shortenImports(wasm, javaScript) {
  const reader = new Reader(wasm, 8);
  const parts = [wasm.subarray(0, 8)];
  let text = javaScript;
  while (reader.at < wasm.length) {
    const start = reader.at;
    const id = reader.byte();
    const size = reader.number();
    const from = reader.at;
    reader.at += size;
    if (id !== IMPORT_SECTION) {
      parts.push(wasm.subarray(start, reader.at));
      continue;
    }
    const imports = readImports(new Reader(wasm, from));
    for (const module of new Set(imports.map((one) => one.module))) text = replaceOnce(text, `"${module}":`, '"m":');
    imports.forEach((one, i) => {
      text = replaceOnce(text, `${one.name}: function`, `${shortName(i)}: function`);
    });
    const renamed = imports.map(({ kind }, i) => Buffer.concat([nameBytes('m'), nameBytes(shortName(i)), kind]));
    const body = Buffer.concat([numberBytes(imports.length), ...renamed]);
    parts.push(Buffer.from([IMPORT_SECTION]), numberBytes(body.length), body);
  }
  return { wasm: Buffer.concat(parts), javaScript: text };
}

const IMPORT_SECTION = 2;

/** `a` to `z`, then `a0` onwards: none of them is a word of JavaScript. */
function shortName(index) {
  const letter = String.fromCharCode(97 + (index % 26));
  return index < 26 ? letter : `${letter}${Math.floor(index / 26) - 1}`;
}

function replaceOnce(text, from, to) {
  if (text.split(from).length !== 2) throw new Error(`${from} is not there once in the JavaScript around the wasm`);
  return text.replace(from, () => to);
}

function readImports(reader) {
  const imports = [];
  for (let left = reader.number(); left > 0; left--) {
    const [module, name] = [reader.text(), reader.text()];
    const from = reader.at;
    reader.skipKind();
    imports.push({ module, name, kind: reader.bytes.subarray(from, reader.at) });
  }
  return imports;
}

/** Reads the binary format of WebAssembly, as far as its imports go. */
class Reader {
  constructor(bytes, at) {
    this.bytes = bytes;
    this.at = at;
  }

  byte() {
    return this.bytes[this.at++];
  }

  /** LEB128. */
  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  text() {
    const length = this.number();
    this.at += length;
    return Buffer.from(this.bytes.subarray(this.at - length, this.at)).toString('utf8');
  }

  skipKind() {
    const kind = this.byte();
    if (kind !== 0) throw new Error(`an import is no function but of kind ${kind}`);
    this.number();
  }
}

function numberBytes(value) {
  const bytes = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

function nameBytes(name) {
  return Buffer.concat([numberBytes(Buffer.byteLength(name)), Buffer.from(name)]);
}
