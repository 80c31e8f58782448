-- 0002_images: schema `canvas`, version 2. Runs in one transaction.
-- oldest_server: 2
CREATE TABLE "image" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "bytes" INTEGER NOT NULL,
  "hash" TEXT NOT NULL,
  "height" INTEGER NOT NULL,
  "type" TEXT NOT NULL,
  "width" INTEGER NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "_new.card" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "extra" TEXT,
  "file" TEXT,
  "height" REAL NOT NULL,
  "kind" TEXT NOT NULL,
  "source_id" TEXT,
  "subpath" TEXT,
  "text" TEXT NOT NULL,
  "url" TEXT,
  "votes" INTEGER NOT NULL,
  "width" REAL NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  "z" REAL NOT NULL,
  "image" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "image") REFERENCES "image" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
INSERT INTO "_new.card" (space, id, "color", "extra", "file", "height", "kind", "source_id", "subpath", "text", "url", "votes", "width", "x", "y", "z", "image", _clock)
  SELECT space, id, "color", "extra", "file", "height", "kind", "source_id", "subpath", "text", "url", "votes", "width", "x", "y", "z", NULL, _clock FROM "card";
DROP TABLE "card";
ALTER TABLE "_new.card" RENAME TO "card";
CREATE INDEX "_card.image" ON "card" (space, "image");
