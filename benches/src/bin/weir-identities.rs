//! What the identity index costs: memory for each identity remembered, time for each record asked and
//! added, writing, and a restart. Fails if the memory goes beyond what the index promises.

use std::path::{Path, PathBuf};

use clap::Parser;
use tokio::time::Instant;
use weir_aggregator::{IdentityIndex, IndexFolder};
use weir_benches::process::{own_io, own_rss_anon};
use weir_benches::{Fail, because};
use weir_files::Disk;
use weir_meter::{ContentHash, IdentityHash, InstallationId};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records that are taken in one step, about as many as folding takes.
const STEP: u64 = 2_048;
const WINDOW_US: i64 = 35 * 24 * 60 * 60 * 1_000_000;
/// A filter's two bytes and a quarter, the first identity of each page, and a little.
const BYTES_PER_IDENTITY_MAX: f64 = 2.6;
/// For each identity in memory: an entry of the table, its copy while it is sorted, and a table half empty.
const BYTES_IN_MEMORY_MAX: f64 = 180.0;
const BYTES_AROUND_MAX: f64 = 64e6;

#[derive(Debug, Parser)]
#[command(about = "Fills an identity index, asks it, and opens it again")]
struct Cli {
    #[arg(default_value = "20000000")]
    identities: u64,
    /// Identities in memory, as the setting identities_in_memory
    #[arg(long, default_value = "1835008")]
    in_memory: usize,
    /// Partitions, which share the identities
    #[arg(long, default_value = "2")]
    partitions: u32,
    /// Records that are asked once all are in, of each kind
    #[arg(long, default_value = "2000000")]
    asked: u64,
    /// Folder on a disk; what the program writes there is removed again
    #[arg(long)]
    work: Option<PathBuf>,
}

struct Partition {
    index: IdentityIndex,
    at: u64,
}

#[derive(Default)]
struct Taken {
    accepted: u64,
    duplicates: u64,
    seconds: f64,
}

fn main() -> Result<(), Fail> {
    let cli = Cli::parse();
    let work = match &cli.work {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let before = own_rss_anon()?;
    let written_before = own_io()?.wchar;
    let mut partitions = Vec::new();
    for partition in 0..cli.partitions.max(1) {
        let path = work.path().join(partition.to_string());
        let folder = open(&path)?;
        let index = IdentityIndex::sealed_in(WINDOW_US, &folder, partition, 0, each(&cli));
        partitions.push(Partition { index, at: 0 });
    }

    let (mut fill, mut sealing, mut merging, mut seals, mut merged, mut peak) =
        (Taken::default(), 0.0, 0.0, 0_u64, 0_u64, 0_u64);
    for from in (0..cli.identities).step_by(STEP as usize) {
        let count = partitions.len() as u64;
        let Some(partition) = partitions.get_mut((from / STEP % count) as usize) else { continue };
        take(partition, from..(from + STEP).min(cli.identities), &mut fill)?;
        if partition.index.is_full() {
            let begun = Instant::now();
            partition.index.seal(partition.at, partition.at as i64)?;
            sealing += begun.elapsed().as_secs_f64();
            peak = peak.max(own_rss_anon()?);
            let begun = Instant::now();
            merged += partition.index.tidy(partition.at, partition.at as i64)?;
            merging += begun.elapsed().as_secs_f64();
            seals += 1;
            peak = peak.max(own_rss_anon()?);
        }
    }
    let filled = own_rss_anon()?;
    peak = peak.max(filled);
    let written = own_io()?.wchar - written_before;
    if (fill.accepted, fill.duplicates) != (cli.identities, 0) {
        return Err(because(format!("{} of {} were new", fill.accepted, cli.identities)));
    }

    // Any of them again, and then others.
    let mut duplicates = Taken::default();
    let stride = (cli.identities / cli.asked.max(1)).max(1) * STEP;
    for from in (0..cli.identities).step_by(stride as usize) {
        let count = partitions.len() as u64;
        let Some(partition) = partitions.get_mut((from / STEP % count) as usize) else { continue };
        take(partition, from..(from + STEP).min(cli.identities), &mut duplicates)?;
    }
    if duplicates.accepted > 0 {
        return Err(because(format!("{} duplicates counted", duplicates.accepted)));
    }
    let mut fresh = Taken::default();
    for from in (0..cli.asked).step_by(STEP as usize) {
        let count = partitions.len() as u64;
        let Some(partition) = partitions.get_mut((from / STEP % count) as usize) else { continue };
        ask(partition, cli.identities + from..cli.identities + from + STEP, &mut fresh)?;
    }
    if fresh.duplicates > 0 {
        return Err(because(format!("{} that never came were dropped", fresh.duplicates)));
    }

    let (mut runs, mut run_bytes, mut filter_bytes, mut probes, mut wrong) = (0, 0, 0, 0, 0);
    for partition in &mut partitions {
        let counts = partition.index.counts();
        runs += counts.runs;
        run_bytes += counts.run_bytes;
        filter_bytes += counts.filter_bytes;
        probes += counts.probes;
        wrong += counts.false_positives;
    }
    let stood: Vec<u64> = partitions.iter().map(|partition| partition.at).collect();
    drop(partitions);
    let begun = Instant::now();
    for (partition, at) in (0..).zip(stood) {
        let folder = open(&work.path().join(partition.to_string()))?;
        IdentityIndex::reopened(WINDOW_US, &folder, partition, (at, at as i64), each(&cli))?;
    }
    let restart = begun.elapsed().as_secs_f64();

    let count = cli.identities as f64;
    let ns = |taken: &Taken| taken.seconds * 1e9 / (taken.accepted + taken.duplicates).max(1) as f64;
    println!("identities                     {:>12}", cli.identities);
    println!(
        "anonymous memory               {:>12.2} B an identity",
        (filled - before.min(filled)) as f64 / count
    );
    println!(
        "  at its peak                  {:>12.2} B an identity",
        (peak - before.min(peak)) as f64 / count
    );
    println!("  of it filters                {:>12.2} B an identity", filter_bytes as f64 / count);
    println!("on disk                        {:>12.2} B an identity", run_bytes as f64 / count);
    println!("new: asked and added           {:>12.0} ns", ns(&fill));
    println!("  with sealing and merging     {:>12.0} ns", ns(&fill) + (sealing + merging) * 1e9 / count);
    println!("duplicate: asked               {:>12.0} ns", ns(&duplicates));
    println!("new: asked, all filters there  {:>12.0} ns", ns(&fresh));
    println!("filters asked / wrong          {probes:>12} / {wrong}");
    println!("seals                          {seals:>12}, {sealing:.1} s");
    println!("entries merged                 {merged:>12}, {merging:.1} s");
    println!("runs                           {runs:>12}");
    println!(
        "written                        {:>12.2} x what is there",
        written as f64 / run_bytes.max(1) as f64
    );
    println!("restart, without rows          {restart:>12.2} s");

    let most = BYTES_PER_IDENTITY_MAX * count + BYTES_IN_MEMORY_MAX * cli.in_memory as f64 + BYTES_AROUND_MAX;
    let took = (peak - before.min(peak)) as f64;
    if took > most {
        return Err(because(format!(
            "{took:.0} bytes of memory at the peak, {most:.0} at most were promised"
        )));
    }
    Ok(())
}

fn each(cli: &Cli) -> usize {
    cli.in_memory / (cli.partitions.max(1) as usize)
}

fn open(path: &Path) -> Result<IndexFolder, Fail> {
    Ok(IndexFolder::open(Disk::default(), path, InstallationId(1), 1, 0)?)
}

/// As folding does it: the whole step is asked first, then each record decided and added.
fn take(partition: &mut Partition, numbers: std::ops::Range<u64>, taken: &mut Taken) -> Result<(), Fail> {
    let mut now_us = partition.at as i64;
    let wanted: Vec<(IdentityHash, i64)> = numbers
        .map(|number| {
            now_us += 1;
            (identity(number), now_us)
        })
        .collect();
    let begun = Instant::now();
    let mut sealed = partition.index.sealed(&wanted)?.into_iter();
    for (identity, now_us) in wanted {
        partition.at += 1;
        if partition.index.recent(identity, now_us).or(sealed.next().flatten()).is_some() {
            taken.duplicates += 1;
        } else {
            taken.accepted += 1;
            partition.index.accept(identity, ContentHash(identity.0), now_us);
        }
    }
    taken.seconds += begun.elapsed().as_secs_f64();
    Ok(())
}

/// The same without adding.
fn ask(partition: &mut Partition, numbers: std::ops::Range<u64>, taken: &mut Taken) -> Result<(), Fail> {
    let now_us = partition.at as i64;
    let wanted: Vec<(IdentityHash, i64)> = numbers.map(|number| (identity(number), now_us)).collect();
    let begun = Instant::now();
    let mut sealed = partition.index.sealed(&wanted)?.into_iter();
    for (identity, now_us) in wanted {
        let met = partition.index.recent(identity, now_us).or(sealed.next().flatten()).is_some();
        taken.duplicates += u64::from(met);
        taken.accepted += u64::from(!met);
    }
    taken.seconds += begun.elapsed().as_secs_f64();
    Ok(())
}

/// Spread over all bits, as the keyed hash of an identity is.
fn identity(number: u64) -> IdentityHash {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    let high = mix(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    IdentityHash((u128::from(high) << 64) | u128::from(mix(high ^ 0x5851_F42D_4C95_7F2D)))
}
