//! The `folkmoot` program: the command line over the library.

mod cli;
mod config;
mod memory;

fn main() -> std::process::ExitCode {
    memory::use_small_pages();
    cli::main()
}
