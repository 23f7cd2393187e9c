//! Makes the Rust code and the file descriptor set from the .proto files; protox is a compiler
//! in Rust, so no protoc has to be installed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 2] = ["io/cloudevents/v1/cloudevents.proto", "weir/v1/ingest.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    let folder = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(folder.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .include_file("all.rs")
        .btree_map(".io.cloudevents.v1.CloudEvent.attributes")
        .bytes(".io.cloudevents.v1")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
