#include "io/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "io/os.h"
#include "io/system_error.h"
#include "io/write_all.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "numbers are written as they are");

constexpr std::string_view kMagic = "cpjrnl01";
constexpr uint64_t kHeadBytes = 16;  // length and checksum

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Head and payload, in one piece.
std::vector<std::byte> frame(std::span<const std::byte> payload) {
  std::vector<std::byte> bytes(kHeadBytes + payload.size());
  const uint64_t length = payload.size();
  if (!payload.empty()) std::memcpy(bytes.data() + kHeadBytes, payload.data(), payload.size());
  // Length and payload lie side by side while they are hashed.
  std::memcpy(bytes.data() + 8, &length, sizeof(length));
  const uint64_t checksum = xxh3_64(std::span(bytes).subspan(8));
  std::memcpy(bytes.data(), &length, sizeof(length));
  std::memcpy(bytes.data() + 8, &checksum, sizeof(checksum));
  return bytes;
}

bool is_whole(std::span<const std::byte> record) {
  const std::vector<std::byte> again = frame(record.subspan(kHeadBytes));
  return std::memcmp(again.data(), record.data(), kHeadBytes) == 0;
}

// False where the file ends before.
Result<bool> read_all(int fd, uint64_t offset, std::span<std::byte> into, const fs::path& path) {
  while (!into.empty()) {
    const ssize_t n = os::pread(fd, into.data(), into.size(), offset);
    if (n < 0) return system_error("read", path, errno);
    if (n == 0) return false;
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return true;
}

}  // namespace

struct Journal::State {
  fs::path path;
  int fd = -1;
  uint64_t end = 0;  // of the last whole record
  bool failed = false;

  ~State() {
    if (fd >= 0) os::close(fd);
  }

  // Reads what is there, up to the first record that is not whole.
  Status scan(uint64_t size, const Visit& visit) {
    std::vector<std::byte> record;
    while (size - end >= kHeadBytes) {
      uint64_t length = 0;
      COLDPRESS_ASSIGN_OR_RETURN(
          const bool has_length,
          read_all(fd, end, std::as_writable_bytes(std::span(&length, 1)), path));
      if (!has_length || length > size - end - kHeadBytes) break;
      record.resize(kHeadBytes + length);
      COLDPRESS_ASSIGN_OR_RETURN(const bool has_record, read_all(fd, end, record, path));
      if (!has_record || !is_whole(record)) break;
      visit({end + kHeadBytes, length}, std::span<const std::byte>(record).subspan(kHeadBytes));
      end += kHeadBytes + length;
    }
    return {};
  }
};

Journal::Journal(std::unique_ptr<State> state) : state_(std::move(state)) {}
Journal::Journal(Journal&&) noexcept = default;
Journal& Journal::operator=(Journal&&) noexcept = default;
Journal::~Journal() = default;

const fs::path& Journal::path() const { return state_->path; }

Result<Journal> Journal::open(const fs::path& path, const Visit& visit) {
  auto state = std::make_unique<State>();
  State& s = *state;
  s.path = path;
  s.fd = os::open(path.c_str(), O_RDWR | O_CREAT, 0666);
  struct stat info = {};
  if (s.fd < 0 || ::fstat(s.fd, &info) != 0) return system_error("open", path, errno);
  const auto size = static_cast<uint64_t>(info.st_size);
  std::vector<std::byte> start(std::min<uint64_t>(size, kMagic.size()));
  COLDPRESS_RETURN_IF_ERROR(read_all(s.fd, 0, start, path).status());
  if (!start.empty() && std::memcmp(start.data(), kMagic.data(), start.size()) != 0) {
    return corrupt(path.string() + " is not a journal of coldpress; remove it");
  }
  if (start.size() < kMagic.size()) {
    COLDPRESS_RETURN_IF_ERROR(write_all(s.fd, 0, as_bytes(kMagic), path));
  }
  s.end = kMagic.size();
  if (size > s.end) COLDPRESS_RETURN_IF_ERROR(s.scan(size, visit));
  if (size > s.end && os::truncate(s.fd, s.end) != 0) return system_error("cut", path, errno);
  Journal journal(std::move(state));
  COLDPRESS_RETURN_IF_ERROR(journal.flush());
  return journal;
}

Result<Journal::Record> Journal::append(std::span<const std::byte> payload) {
  State& s = *state_;
  COLDPRESS_CHECK(!s.failed);
  const std::vector<std::byte> bytes = frame(payload);
  const Status written = write_all(s.fd, s.end, bytes, s.path);
  if (!written.ok()) {
    s.failed = true;
    return written;
  }
  const Record record{s.end + kHeadBytes, payload.size()};
  s.end += bytes.size();
  return record;
}

Status Journal::flush() {
  State& s = *state_;
  if (os::sync(s.fd) == 0) return {};
  s.failed = true;  // the system may have dropped what it could not write
  return system_error("flush", s.path, errno);
}

Result<std::vector<std::byte>> Journal::read(const Record& record) const {
  std::vector<std::byte> bytes(kHeadBytes + record.size);
  COLDPRESS_ASSIGN_OR_RETURN(const bool is_there,
                             read_all(state_->fd, record.offset - kHeadBytes, bytes, state_->path));
  if (!is_there || !is_whole(bytes)) {
    return corrupt(state_->path.string() + " has changed while it was in use");
  }
  bytes.erase(bytes.begin(), bytes.begin() + kHeadBytes);
  return bytes;
}

}  // namespace coldpress
