//! The help of every command, so that a change to it is seen in review.

use clap::CommandFactory;
use weir::cli::Cli;

/// Lines are as long as the author made them, whatever terminal the test runs in.
fn help(path: &[&str]) -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut found = &mut command;
    for name in path {
        found = found.find_subcommand_mut(name).unwrap();
    }
    found.render_long_help().to_string()
}

#[test]
fn help_of_every_command() {
    let paths: [&[&str]; 26] = [
        &[],
        &["serve"],
        &["config"],
        &["send"],
        &["meters"],
        &["meters", "list"],
        &["meters", "create"],
        &["meters", "show"],
        &["meters", "update"],
        &["meters", "delete"],
        &["query"],
        &["keys"],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "roll"],
        &["keys", "revoke"],
        &["segments"],
        &["check"],
        &["backup"],
        &["restore"],
        &["export"],
        &["export", "events"],
        &["export", "windows"],
        &["demo"],
        &["completions"],
        &["version"],
    ];
    for path in paths {
        let name = ["help", &path.join("_")].join("_");
        insta::assert_snapshot!(name.trim_end_matches('_'), help(path));
    }
    let commands = Cli::command();
    let named: Vec<&str> = commands.get_subcommands().map(|command| command.get_name()).collect();
    for name in named {
        assert!(
            paths.iter().any(|path| path.first() == Some(&name)),
            "the help of `{name}` is not looked at"
        );
    }
}

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_manual_of_settings() {
    insta::assert_snapshot!(weir::settings::Settings::resolve(&[]).unwrap().render());
}
