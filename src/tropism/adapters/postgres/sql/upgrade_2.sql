-- How the store came to its format, and which older code may go on working with it.
CREATE TABLE :schema.upgrades(
    version integer PRIMARY KEY, works_with integer NOT NULL,
    tropism text COLLATE "C" NOT NULL, at_us bigint NOT NULL);
