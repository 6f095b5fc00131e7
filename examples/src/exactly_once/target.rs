//! Which database: what a command line or the environment says.

use std::path::PathBuf;
use std::str::FromStr;

use super::database::{Database, DatabaseError};
use super::postgres::Postgres;
use super::sqlite::Sqlite;

/// A database that is named by a URL of PostgreSQL, or by a file of SQLite.
#[derive(Debug, Clone)]
pub enum Target {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<tokio_postgres::Config>),
}

impl Target {
    /// Makes the tables, unless they are there.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn prepare(&self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(path) => Sqlite::at(path).prepare().await,
            Self::Postgres(config) => Postgres::new((**config).clone()).prepare().await,
        }
    }

    /// A connection of its own, for a processor. It is made when it is needed.
    pub fn database(&self) -> Box<dyn Database> {
        match self {
            Self::Sqlite(path) => Box::new(Sqlite::at(path)),
            Self::Postgres(config) => Box::new(Postgres::new((**config).clone())),
        }
    }
}

impl FromStr for Target {
    type Err = tokio_postgres::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(text.parse()?)));
        }
        Ok(Self::Sqlite(text.into()))
    }
}
