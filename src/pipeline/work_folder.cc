#include "pipeline/work_folder.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/hash.h"
#include "io/file.h"
#include "io/os.h"
#include "io/system_error.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

constexpr char kJournal[] = "journal";
constexpr char kLock[] = "lock";
constexpr char kActivations[] = "activations-";
// Until one was saved; a slow disk.
constexpr double kBytesPerSecond = 200e6;
constexpr std::size_t kHexDigits = 32;  // of the hash at the end of the activations

// The block of a file of activations; nothing: it is no such file.
std::optional<int> block_of(const std::string& name) {
  const std::string prefix = kActivations;
  if (!name.starts_with(prefix) || name.size() > prefix.size() + 9) return std::nullopt;
  int block = 0;
  for (const char c : name.substr(prefix.size())) {
    if (c < '0' || c > '9') return std::nullopt;
    block = 10 * block + (c - '0');
  }
  return name.size() == prefix.size() ? std::nullopt : std::optional(block);
}

}  // namespace

WorkFolder::WorkFolder(fs::path path, const WorkFolderOptions& options)
    : path_(std::move(path)), spacing_(options.save_spacing), last_save_(seconds_now()) {}

WorkFolder::~WorkFolder() {
  if (lock_ && journal_ && journal_->solved() == 0) remove();
}

fs::path WorkFolder::activations(int block) const {
  return path_ / fmt::format("{}{}", kActivations, block);
}

Status WorkFolder::take_lock() {
  COLDPRESS_ASSIGN_OR_RETURN(lock_, FileLock::try_acquire(path_ / kLock));
  if (lock_ && lock_->is_in_place()) return {};
  return invalid_argument(fmt::format(
      "{} is in use: another process is writing this output; wait for it or choose another name",
      path_.string()));
}

Result<std::unique_ptr<WorkFolder>> WorkFolder::claim(const fs::path& out,
                                                      const WorkFolderOptions& options) {
  fs::path path = without_trailing_slash(out);
  path += ".work";
  std::unique_ptr<WorkFolder> folder(new WorkFolder(std::move(path), options));
  std::error_code error;
  const fs::file_status status = fs::symlink_status(folder->path_, error);
  if (!fs::exists(status)) return folder;
  if (!fs::is_directory(status)) {
    return invalid_argument(folder->path_.string() +
                            " is where the work on this output is kept, and it is not a folder; "
                            "remove it or choose another name");
  }
  COLDPRESS_RETURN_IF_ERROR(folder->take_lock());
  if (options.restart) {
    folder->remove();
    return folder;
  }
  COLDPRESS_ASSIGN_OR_RETURN(folder->journal_, RunJournal::open(folder->path_ / kJournal));
  return folder;
}

uint64_t WorkFolder::bytes() const {
  uint64_t sum = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, error)) {
    std::error_code gone;
    const auto size = entry.file_size(gone);
    if (!gone) sum += size;
  }
  return sum;
}

Status WorkFolder::begin(const Fingerprint& fingerprint) {
  if (!lock_) {
    if (os::make_folder(path_.c_str()) != 0 && errno != EEXIST) {
      return system_error("create", path_, errno);
    }
    COLDPRESS_RETURN_IF_ERROR(take_lock());
  }
  if (!journal_) {
    COLDPRESS_ASSIGN_OR_RETURN(journal_, RunJournal::open(path_ / kJournal));
  }
  COLDPRESS_RETURN_IF_ERROR(journal_->begin(fingerprint));
  // The newest activations stay; the others, and those that were being written, go.
  std::set<std::string> others;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, error)) {
    const std::string name = entry.path().filename().string();
    const std::optional<int> block = block_of(name);
    if (block && (!saved_ || *block > *saved_)) saved_ = block;
    if (name.starts_with(kActivations)) others.insert(name);
  }
  for (const std::string& name : others) {
    if (!saved_ || path_ / name != activations(*saved_)) remove_file(path_ / name);
  }
  return {};
}

Status WorkFolder::save(GramSource& grams, int block) {
  const auto bytes = static_cast<double>(grams.state_bytes());
  if (bytes == 0) return {};
  const double cost = save_seconds_ > 0 ? save_seconds_ : bytes / kBytesPerSecond;
  if (seconds_now() - last_save_ < spacing_ * cost) return {};
  const double start = seconds_now();
  COLDPRESS_RETURN_IF_ERROR(journal_->flush());
  const fs::path path = activations(block);
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  Xxh3Stream hash;
  COLDPRESS_RETURN_IF_ERROR(grams.save([&](std::span<const std::byte> piece) {
    hash.add(piece);
    return file.append(piece);
  }));
  COLDPRESS_RETURN_IF_ERROR(file.append(hash.hex()));
  COLDPRESS_RETURN_IF_ERROR(file.commit());
  if (saved_ && *saved_ != block) remove_file(activations(*saved_));
  saved_ = block;
  last_save_ = seconds_now();
  save_seconds_ = last_save_ - start;
  return {};
}

Result<int> WorkFolder::restore(GramSource& grams, int known_blocks) {
  if (!saved_) return 0;
  const fs::path path = activations(*saved_);
  const int64_t state = grams.state_bytes();
  std::error_code error;
  // Of another run than the journal, or damaged: the blocks run again instead.
  bool is_good = *saved_ < known_blocks && state > 0 &&
                 fs::file_size(path, error) == static_cast<uint64_t>(state) + kHexDigits;
  if (is_good) {
    COLDPRESS_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
    Xxh3Stream hash;
    const auto read = [&](std::span<std::byte> piece) {
      const Status status = file.read(piece).status();
      hash.add(piece);
      return status;
    };
    COLDPRESS_RETURN_IF_ERROR(grams.restore(read));
    std::string wanted(kHexDigits, ' ');
    COLDPRESS_RETURN_IF_ERROR(file.read(std::as_writable_bytes(std::span(wanted))).status());
    is_good = wanted == hash.hex();
  }
  if (!is_good) {
    remove_file(path);
    saved_.reset();
    return 0;
  }
  return *saved_ + 1;
}

bool WorkFolder::remove() {
  journal_.reset();
  std::error_code ignored;
  // The lock goes last, so that nobody takes what is half removed.
  remove_file(path_ / kJournal);
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, ignored)) {
    if (entry.path().filename().string().starts_with(kActivations)) {
      remove_file(entry.path());
    }
  }
  remove_file(path_ / kLock);
  remove_file(path_);  // unless there is something in it that is not ours
  lock_.reset();
  saved_.reset();
  return !fs::exists(path_, ignored);
}

}  // namespace coldpress
