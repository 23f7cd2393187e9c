//! How many partitions a data folder has, and who says so.

use super::*;
use crate::environment::{OsEntropy, SystemClock};
use crate::settings::{Layer, Origin};

async fn partitions(folder: &Path, asked: &str) -> Result<u32, ServeError> {
    let given = [("data_dir", folder.display().to_string()), ("partitions", asked.to_owned())];
    let settings = Settings::resolve(&[Layer::of(Origin::Flag, given)]).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::default());
    let parts = open(&settings, &clock, &entropy).await?;
    parts.log.close().await;
    parts.catalog.close().await;
    assert_eq!(parts.log.partitions(), parts.epoch.partitions);
    Ok(parts.epoch.partitions)
}

#[tokio::test]
async fn a_new_folder_takes_the_cores_and_an_old_one_keeps_its_own() {
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(partitions(fresh.path(), "auto").await.unwrap(), cores());

    let other = tempfile::tempdir().unwrap();
    let foreign = cores() + 3;
    assert_eq!(partitions(other.path(), &foreign.to_string()).await.unwrap(), foreign);
    // As if the folder had come from a machine with more cores.
    assert_eq!(partitions(other.path(), "auto").await.unwrap(), foreign);
    let refused = partitions(other.path(), "1").await.unwrap_err();
    assert!(matches!(refused, ServeError::Partitions { asked: 1, stored } if stored == foreign), "{refused}");
}
