const REVOKED_AFTER_MS = 10_000;

/** Has the browser save a text as a file. */
export function saveFile(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = name;
  link.click();
  // WebKit asks for the bytes only after the click is over.
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKED_AFTER_MS);
}
