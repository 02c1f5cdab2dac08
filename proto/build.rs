//! Compiles the contract without protoc.

use std::path::PathBuf;

const FILES: &[&str] = &[
    "spillway/orders/v1/orders.proto",
    "spillway/inventory/v1/inventory.proto",
    "spillway/ops/v1/audit.proto",
    "spillway/ops/v1/flow.proto",
    "spillway/ops/v1/dead_letters.proto",
    "spillway/ops/v1/payments.proto",
    "spillway/ops/v1/traces.proto",
    "spillway/events/v1/events.proto",
    "spillway/internal/v1/bus.proto",
    "spillway/internal/v1/pulse.proto",
    "spillway/internal/v1/queries.proto",
    "spillway/internal/v1/operations.proto",
    "spillway/internal/v1/evidence.proto",
    "spillway/internal/v1/dead_letters.proto",
    "spillway/internal/v1/payments.proto",
    "spillway/internal/v1/traces.proto",
    "io/cloudevents/v1/cloudevents.proto",
    // For reflection alone: without them a client such as grpcurl cannot show the details of an error.
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=api");
    println!("cargo:rerun-if-changed=third_party");
    let mut compiler = protox::Compiler::new(["api", "third_party"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES.iter().copied())?;
    // The bytes as protox has them: prost's own descriptor types drop the options of extensions.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptor_set.bin"), &encoded)?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::CompactCodec")
        .bytes(".")
        .btree_map(".")
        .disable_comments(["google", "io"])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
