// coldpress: presses language models to 2-8 bits after training. Parses the command line, runs one
// verb, prints errors. Exit codes: 0 done, 1 the work failed, 2 the command line was wrong.
#include <csignal>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "launch.h"
#include "terminal.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

// Help that shows examples before anything else.
class ExamplesFirst : public CLI::Formatter {
 public:
  explicit ExamplesFirst(std::string examples) : examples_(std::move(examples)) {}

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string help = "Examples:\n";
    for (size_t at = 0; at < examples_.size();) {
      const size_t end = std::min(examples_.find('\n', at), examples_.size());
      help += "  " + examples_.substr(at, end - at) + "\n";
      at = end + 1;
    }
    return help + "\n" + CLI::Formatter::make_help(app, std::move(name), mode);
  }

 private:
  std::string examples_;
};

constexpr const char* kExamples =
    "coldpress fetch smollm2-135m\n"
    "coldpress quantize model.gguf --bits 3 -o pressed.gguf\n"
    "coldpress COMMAND --help";

// A usage error as one sentence that says where help is.
std::string explain(const CLI::ParseError& error, const CLI::App& app, const std::string& first) {
  std::string help = "coldpress";
  std::string message = error.what();
  if (app.get_subcommands().empty() && !first.empty() && first[0] != '-') {
    message = "there is no command '" + first + "'";
  }
  for (const CLI::App* verb : app.get_subcommands()) help += " " + verb->get_name();
  return message + " (see " + help + " --help)";
}

// Of processes that mpirun started the first speaks for all: they are told each other's errors.
void report(const std::string& error) {
  if (launch_of_this_process().rank == 0) print_error(error);
}

int run_command_line(int argc, char** argv) {
  CLI::App app("Presses large language models to 2-8 bits after training.", "coldpress");
  app.formatter(std::make_shared<ExamplesFirst>(kExamples));
  app.set_version_flag("--version", COLDPRESS_VERSION);
  app.require_subcommand(1);
  Run run;
  add_fetch(app, run);
  add_inspect(app, run);
  add_convert(app, run);
  add_plan(app, run);
  add_quantize(app, run);
  add_eval(app, run);
  add_imatrix(app, run);
  add_bench(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    report(explain(error, app, argc > 1 ? argv[1] : ""));
    return 2;
  }
  const Status status = run();
  if (!status.ok()) report(status.message());
  return status.ok() ? 0 : 1;
}

}  // namespace

CLI::App* add_verb(CLI::App& app, const std::string& name, const std::string& summary,
                   const std::string& examples) {
  CLI::App* verb = app.add_subcommand(name, summary);
  verb->formatter(std::make_shared<ExamplesFirst>(examples));
  return verb;
}

}  // namespace coldpress::cli

int main(int argc, char** argv) {
  // A file that may not grow is then an error to report, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return coldpress::cli::run_command_line(argc, argv);
  } catch (const std::bad_alloc&) {
    coldpress::cli::print_error("out of memory; use fewer samples or a machine with more memory");
  } catch (const std::exception& error) {
    coldpress::cli::print_error(std::string("unexpected error: ") + error.what());
  }
  return 1;
}
