#include "report/read_manifest.h"

#include <string>

#include "export/hf_files.h"
#include "io/gguf.h"
#include "io/json.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

Result<std::optional<Json>> read_if_there(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::optional<Json>();
  COLDPRESS_ASSIGN_OR_RETURN(Json json, read_json_file(path));
  return std::optional<Json>(std::move(json));
}

}  // namespace

Result<std::optional<Json>> read_manifest(const fs::path& model) {
  std::error_code error;
  if (fs::is_directory(model, error)) return read_if_there(model / kManifestFile);
  COLDPRESS_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::open(model));
  for (const auto& [key, value] : file.content().metadata) {
    if (key != kManifestKey) continue;
    const auto text = value.as_string();
    if (!text) break;
    COLDPRESS_ASSIGN_OR_RETURN(Json json, parse_json(*text, model.string() + ": " + kManifestKey));
    if (json.is_object() && json.contains("calibration"))
      return std::optional<Json>(std::move(json));
    break;  // too long for the file: beside it
  }
  return read_if_there(model.string() + "." + kManifestFile);
}

}  // namespace coldpress
