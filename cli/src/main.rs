//! The one binary: see the library beneath.

fn main() -> std::process::ExitCode {
    spillway_cli::main()
}
