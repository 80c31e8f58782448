use driftline_server::Place;
use std::convert::Infallible;
use std::str::FromStr;

/// Where a database is, as it was given. It is read later: an error of the command line would print it, with the password in it.
#[derive(Clone)]
pub struct Data(String);

impl FromStr for Data {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Data, Infallible> {
        Ok(Data(text.to_string()))
    }
}

impl Data {
    pub fn place(&self) -> Result<Place, String> {
        self.0.parse()
    }
}
