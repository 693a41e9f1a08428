// Any bytes as the journal of a run, two ways: as the file, whose checksums stop most of them, and,
// as (u16 length, payload) one after the other, as records whose checksums are right.
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "base/check.h"
#include "grid/table.h"
#include "io/journal.h"
#include "pipeline/run_journal.h"

namespace {

namespace fs = std::filesystem;
using coldpress::GridKind;
using coldpress::Journal;
using coldpress::RunJournal;

const fs::path& work_file() {
  static const fs::path path =
      fs::temp_directory_path() / ("journal-fuzz-" + std::to_string(getpid()));
  return path;
}

void read_all(const fs::path& path) {
  static const GridKind& kind = **coldpress::find_grid("affine");
  const auto journal = RunJournal::open(path);
  if (!journal.ok()) {
    COLDPRESS_CHECK(!journal.status().message().empty());
    return;
  }
  for (const auto& [tensor, expert] : journal->known().linears) {
    const auto linear = journal->read(tensor, expert, kind, 4, 8);
    COLDPRESS_CHECK(!linear.ok() || linear->solution.codes.rows() == 4);
  }
}

void as_file(std::span<const std::byte> bytes) {
  std::ofstream(work_file(), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  read_all(work_file());
}

void as_records(std::span<const std::byte> bytes) {
  {
    auto journal = Journal::open(work_file(), [](const Journal::Record&, auto) {});
    COLDPRESS_CHECK(journal.ok());
    while (bytes.size() >= 2) {
      uint16_t length = 0;
      std::memcpy(&length, bytes.data(), sizeof(length));
      bytes = bytes.subspan(sizeof(length));
      const auto payload = bytes.first(std::min<std::size_t>(length, bytes.size()));
      COLDPRESS_CHECK(journal->append(payload).ok());
      bytes = bytes.subspan(payload.size());
    }
  }
  read_all(work_file());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const auto& how : {as_file, as_records}) {
    fs::remove(work_file());
    how(bytes);
  }
  fs::remove(work_file());
  return 0;
}
