//! Plain SQLite: a row for each reading, ordered by series and time, in this process.
//!
//! That is what an application writes that keeps readings by itself. WAL and `synchronous=FULL`:
//! what is committed is synced, as ours. There is no HTTP in between, which is in its favour.

use rusqlite::Connection;
use std::fs;
use std::io;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The peer's name.
pub const NAME: &str = "sqlite-rows";

/// An open database.
pub struct Rows {
    database: Connection,
    dir: TempDir,
}

/// A series, a time in milliseconds, a value.
pub type Row = (i64, i64, f64);

impl Rows {
    /// An empty one.
    pub fn create() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let database = Connection::open(dir.path().join("rows.db")).map_err(io::Error::other)?;
        let made = database.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             CREATE TABLE readings (series INTEGER, time INTEGER, value REAL,
                 PRIMARY KEY (series, time)) WITHOUT ROWID;",
        );
        made.map_err(io::Error::other)?;
        Ok(Self { database, dir })
    }

    /// Writes rows in one transaction; a later row of the same series and time replaces.
    pub fn write(&mut self, rows: impl IntoIterator<Item = Row>) -> io::Result<()> {
        self.try_write(rows).map_err(io::Error::other)
    }

    fn try_write(&mut self, rows: impl IntoIterator<Item = Row>) -> rusqlite::Result<()> {
        let transaction = self.database.transaction()?;
        {
            let sql = "INSERT OR REPLACE INTO readings VALUES (?1, ?2, ?3)";
            let mut insert = transaction.prepare_cached(sql)?;
            for row in rows {
                insert.execute(row)?;
            }
        }
        transaction.commit()
    }

    /// Readings a second, of 50 devices with 5 series, in batches of one transaction.
    pub fn rate(batch: usize, time: Duration) -> io::Result<f64> {
        let mut rows = Self::create()?;
        let (started, mut count) = (Instant::now(), 0_usize);
        while started.elapsed() < time {
            let device = count / batch % 50;
            let one = |i: usize| {
                let (series, time) = ((device * 5 + i % 5) as i64, (count + i) as i64);
                (series, time, ((count * 977 + i * 31) % 10_000) as f64 / 100.0)
            };
            rows.write((0..batch).map(one))?;
            count += batch;
        }
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }

    /// How many rows there are, and the bytes of the file with no free room left in it.
    pub fn at_rest(&self) -> io::Result<(u64, u64)> {
        let done = self.database.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);");
        done.map_err(io::Error::other)?;
        let sql = "SELECT count(*) FROM readings";
        let count = self.database.query_row(sql, [], |row| row.get::<_, i64>(0));
        let count = count.map_err(io::Error::other)?.unsigned_abs();
        Ok((count, fs::metadata(self.dir.path().join("rows.db"))?.len()))
    }

    /// The means of a series over steps of a span, milliseconds.
    pub fn means(&self, series: i64, from: i64, to: i64, step: i64) -> io::Result<Vec<Row>> {
        let sql = "SELECT ?1, (time - ?2) / ?4, avg(value) FROM readings
                   WHERE series = ?1 AND time >= ?2 AND time < ?3 GROUP BY 2 ORDER BY 2";
        let mut ask = self.database.prepare_cached(sql).map_err(io::Error::other)?;
        let rows = ask.query_map((series, from, to, step), |row| row.try_into());
        rows.and_then(Iterator::collect).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_by_series_and_time_and_averaged_by_steps() {
        let mut rows = Rows::create().unwrap();
        rows.write([(1, 0, 1.0), (1, 5, 3.0), (1, 10, 7.0), (2, 0, 9.0)]).unwrap();
        assert_eq!(rows.at_rest().unwrap().0, 4);
        assert_eq!(rows.means(1, 0, 20, 10).unwrap(), [(1, 0, 2.0), (1, 1, 7.0)]);
        assert_eq!(rows.means(1, 0, 10, 10).unwrap(), [(1, 0, 2.0)]);
    }
}
