/** Stands in for the translator of Mermaid texts, which this example leaves out. */
export function parseMermaidToExcalidraw(): never {
  throw new Error('This example leaves out diagrams from Mermaid texts.');
}
