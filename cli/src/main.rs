//! The one binary: see the library beneath.

/// The system's allocator takes twice the processor time under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spillway_cli::main()
}
