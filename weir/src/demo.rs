//! `weir demo`: a server of its own, a month of real flights through the public API, and questions
//! about them. It is a client like any other, so what it shows is what a user gets.

mod answers;
mod flights;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::KeyText;
use crate::client::Client;
use crate::output::{self, Failure, Style};
use crate::settings::{Layer, Origin, Settings};
use crate::{logging, send, serve};

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8888);

/// What `weir demo` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stop after the answers.
    pub exit: bool,
    /// A folder that stays; else a temporary one.
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    /// For a folder with keys.
    pub key: Option<KeyText>,
}

pub async fn run(options: &Options) -> Result<(), Failure> {
    let temporary = match options.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("weir-demo-").tempdir().map_err(|error| {
            Failure::new(format!("cannot make a temporary folder: {error}"))
                .advice("name a folder with --data-dir")
        })?),
    };
    let folder = match (&options.data_dir, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => PathBuf::from("weir-data"),
    };
    let settings = settings(&folder, free_address(options.listen)?)?;
    logging::start(&settings);
    let running = Box::pin(serve::start(settings)).await?;
    let client = Client::new(&format!("http://{}", reachable(running.addr)))?;
    let client = client.with_key(options.key.as_ref().map(KeyText::as_str))?;

    let style = Style::of_stdout();
    let kept = if temporary.is_some() { ", removed at the end" } else { "" };
    let opening = format!(
        "{}\nserving on {}, data in {}{kept}\n\n",
        style.bold("Weir demo: every flight that left New York in March 2013"),
        client.url(),
        folder.display()
    );
    let told = async {
        output::data(&opening)?;
        tell(&client, style, &output::data).await?;
        output::data(&farewell(client.url(), options.exit, style))
    }
    .await;
    if told.is_ok() && !options.exit {
        wait_for_the_end().await;
        output::note("stopping");
    }
    let stopped = Box::pin(running.stop()).await;
    told?;
    Ok(stopped?)
}

/// The demo itself, against any server; `say` is given the text for stdout.
pub async fn tell(
    client: &Client,
    style: Style,
    say: &(dyn Fn(&str) -> Result<(), Failure> + Sync),
) -> Result<(), Failure> {
    let made = flights::make_meters(client).await?;
    let (taken, position, elapsed) = flights::send(client).await?;
    say(&format!("{made}\n{}, each on disk before its answer\n\n", send::summary(taken, elapsed)))?;
    answers::show(client, position.as_deref(), style, say).await
}

/// Settings as `weir serve` has them, but quiet: the demo speaks for itself.
fn settings(folder: &std::path::Path, listen: SocketAddr) -> Result<Settings, Failure> {
    let given = [
        ("data_dir", folder.display().to_string()),
        ("listen", listen.to_string()),
        ("log_level", std::env::var("WEIR_LOG_LEVEL").unwrap_or_else(|_| "warn".to_owned())),
    ];
    Ok(Settings::resolve(&[Layer::of(Origin::Flag, given)])?)
}

/// The address asked for; or the usual one, or any that is free if that is taken.
fn free_address(asked: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
    let address = asked.unwrap_or(LISTEN_DEFAULT);
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(error) if asked.is_none() && error.kind() == ErrorKind::AddrInUse => {
            output::note(&format!("{address} is taken, so the demo serves on a free port"));
            Ok(SocketAddr::new(address.ip(), 0))
        }
        Err(error) => Err(Failure::new(format!("cannot listen on {address}: {error}"))
            .advice("name another address with --listen, such as 127.0.0.1:0 for any free port")),
    }
}

/// The address as a client on this machine reaches it.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    match address {
        SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        SocketAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
    }
}

fn farewell(url: &str, exit: bool, style: Style) -> String {
    if exit {
        return "Without --exit the server stays up, to be asked from another terminal.\n".to_owned();
    }
    let flag = if url == crate::client::DEFAULT_URL { String::new() } else { format!(" --url {url}") };
    format!(
        "{}
  curl '{url}/api/v1/meters/distance/query?windowSize=DAY&windowTimeZone=America/New_York&subject=UA'
  curl {url}/api/v1/events -H 'content-type: application/json' -d '{{\"specversion\":\"1.0\",
    \"id\":\"1\",\"source\":\"me\",\"type\":\"flight\",\"subject\":\"UA\",\"data\":{{\"distance\":\"0.1\"}}}}'
  weir query distance --group-by origin --window month{flag}

{}
",
        style.bold("Now you, from another terminal"),
        style.faint("Serving until Ctrl-C.")
    )
}

/// Returns when the process is told to stop.
async fn wait_for_the_end() {
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupted.await;
        }
    }
}

/// `12 ms`, or `0.4 ms` for what is quick.
fn milliseconds(elapsed: Duration) -> String {
    let ms = elapsed.as_secs_f64() * 1_000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}
