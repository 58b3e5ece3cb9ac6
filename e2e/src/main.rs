//! `workbench`: placeholder until the command line follows.
fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "guard") {
        std::process::exit(werkbank_e2e::process::guard::run(args.collect())?);
    }
    Ok(())
}
