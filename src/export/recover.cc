#include "export/recover.h"

#include <cstdint>
#include <system_error>

#include "export/hf_files.h"
#include "io/file.h"
#include "io/gguf_split.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& file, const std::string& manifest) {
  std::error_code error;
  if (!fs::exists(file, error)) return false;
  const auto text = read_text_file(file);
  return text.ok() && *text == manifest;
}

// The manifest of a GGUF file.
fs::path sidecar_of(fs::path out) {
  out += ".coldpress.json";
  return out;
}

// Of how many files NAME-00001-of-0000N.gguf the output was to be; 0: none of them is there. They
// get their names from the last to the first.
int64_t count_of_parts(const fs::path& out) {
  std::error_code error;
  for (int64_t count = 2; count <= kMostSplits; ++count) {
    if (fs::exists(split_path(out, count - 1, count), error)) return count;
  }
  return 0;
}

}  // namespace

void remove_leftovers(const fs::path& given) {
  const fs::path out = without_trailing_slash(given);
  remove_stale_parts(out);
  remove_stale_parts(sidecar_of(out));
}

bool recover_output(const fs::path& given, const std::string& manifest) {
  const fs::path out = without_trailing_slash(given);
  if (out.extension() != ".gguf") return holds(out / kManifestFile, manifest);
  if (!holds(sidecar_of(out), manifest)) return false;
  std::error_code error;
  if (fs::exists(out, error)) return true;
  const int64_t count = count_of_parts(out);
  if (count > 0 && fs::exists(split_path(out, 0, count), error)) return true;
  for (int64_t i = 0; i < count; ++i) remove_file(split_path(out, i, count));
  return false;
}

}  // namespace coldpress
