-- 0001_create: schema `canvas`, version 1. Runs in one transaction.
-- oldest_server: 1
CREATE TABLE "box" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "background" TEXT,
  "background_style" TEXT,
  "color" TEXT,
  "extra" TEXT,
  "height" REAL NOT NULL,
  "label" TEXT,
  "source_id" TEXT,
  "width" REAL NOT NULL,
  "x" REAL NOT NULL,
  "y" REAL NOT NULL,
  "z" REAL NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "card" (
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
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE "connection" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "extra" TEXT,
  "from_end" TEXT,
  "from_side" TEXT,
  "label" TEXT,
  "source_id" TEXT,
  "to_end" TEXT,
  "to_side" TEXT,
  "connection_type" BLOB,
  "end_item_card" BLOB,
  "end_item_box" BLOB,
  "start_item_card" BLOB,
  "start_item_box" BLOB,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id),
  FOREIGN KEY (space, "connection_type") REFERENCES "connection_type" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "end_item_card") REFERENCES "card" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "end_item_box") REFERENCES "box" (space, id) ON DELETE NO ACTION,
  CHECK (("end_item_card" IS NOT NULL) + ("end_item_box" IS NOT NULL) = 1),
  FOREIGN KEY (space, "start_item_card") REFERENCES "card" (space, id) ON DELETE NO ACTION,
  FOREIGN KEY (space, "start_item_box") REFERENCES "box" (space, id) ON DELETE NO ACTION,
  CHECK (("start_item_card" IS NOT NULL) + ("start_item_box" IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX "_connection.connection_type" ON "connection" (space, "connection_type");
CREATE INDEX "_connection.end_item_card" ON "connection" (space, "end_item_card");
CREATE INDEX "_connection.end_item_box" ON "connection" (space, "end_item_box");
CREATE INDEX "_connection.start_item_card" ON "connection" (space, "start_item_card");
CREATE INDEX "_connection.start_item_box" ON "connection" (space, "start_item_box");
CREATE TABLE "connection_type" (
  space INTEGER NOT NULL,
  id BLOB NOT NULL CHECK (length(id) = 16),
  "color" TEXT,
  "name" TEXT NOT NULL,
  _clock TEXT NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
