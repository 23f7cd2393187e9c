//! Hostile input at queries and meters: what each is answered (`inputs`, the rows of a document), that texts
//! mean themselves whatever is in them (`literal`), that times are counted where they belong (`times`), and
//! that whoever floods the server with questions or groups hurts nobody else (`flood`).

mod flood;
mod inputs;
mod literal;
mod times;

use weir_tests::http::Api;
use weir_tests::server::{Options, Server};

/// A server of its own in a folder of its own.
struct Own {
    api: Api,
    server: Server,
    _folder: tempfile::TempDir,
}

fn own(flags: &[&str]) -> Own {
    let folder = tempfile::tempdir().unwrap();
    let server = Options::new(&folder.path().join("data"), flags).start();
    Own { api: Api::new(&server.url), server, _folder: folder }
}

/// A text inside an address.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
