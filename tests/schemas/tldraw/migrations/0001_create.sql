-- 0001_create: schema `tldraw`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "binding" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "data" TEXT NOT NULL,
  "from" BLOB NOT NULL,
  "to" BLOB NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "from") REFERENCES "shape" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "to") REFERENCES "shape" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_binding.from" ON "binding" (space, "from");
CREATE INDEX "_binding.to" ON "binding" (space, "to");
CREATE TABLE "shape" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "child_index" REAL NOT NULL,
  "data" TEXT NOT NULL,
  "kind" TEXT NOT NULL,
  "name" TEXT NOT NULL,
  "votes" INTEGER NOT NULL,
  "handle_end" BLOB,
  "handle_start" BLOB,
  "parent" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "handle_end") REFERENCES "binding" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "handle_start") REFERENCES "binding" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "parent") REFERENCES "shape" (space, id) ON DELETE NO ACTION
) STRICT, WITHOUT ROWID;
CREATE INDEX "_shape.handle_end" ON "shape" (space, "handle_end");
CREATE INDEX "_shape.handle_start" ON "shape" (space, "handle_start");
CREATE INDEX "_shape.parent" ON "shape" (space, "parent");
