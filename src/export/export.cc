#include "export/export.h"

#include <fmt/format.h>

#include "export/table.h"

namespace coldpress {

Result<std::unique_ptr<ExportSink>> open_export(const ExportRequest& request) {
  if (request.dense_type != DType::kF16 && request.dense_type != DType::kBF16 &&
      request.dense_type != DType::kF32) {
    return invalid_argument(fmt::format("weights cannot be stored as {}; choose F16, BF16 or F32",
                                        dtype_name(request.dense_type)));
  }
  std::error_code error;
  const auto existing = std::filesystem::symlink_status(request.out, error);
  if (std::filesystem::exists(existing) &&
      !(std::filesystem::is_directory(existing) && std::filesystem::is_empty(request.out, error))) {
    return invalid_argument(
        fmt::format("{} already exists; remove it or choose another name", request.out.string()));
  }
  const std::string suffix = request.out.extension().string();
  if (suffix == ".safetensors") {
    return invalid_argument(
        fmt::format("{}: a safetensors model is a folder; give a folder's name "
                    "(or NAME.gguf for one file)",
                    request.out.string()));
  }
  if (!request.code_format.empty()) {
    if (suffix == ".gguf") {
      return invalid_argument(
          fmt::format("{}: --format {} is a folder; give a folder's name, or leave --format out",
                      request.out.string(), request.code_format));
    }
    COLDPRESS_ASSIGN_OR_RETURN(const ExportFormat* format, find_code_format(request.code_format));
    if (request.model.config().online.are_needed()) {
      return invalid_argument(
          fmt::format("--format {} is for programs that do not run rotation r4; leave r4 out, or "
                      "--format",
                      request.code_format));
    }
    return format->create(request);
  }
  const ExportFormat* folder = nullptr;
  for (const ExportFormat* format : export_table()) {
    if (format->codes != nullptr) continue;
    if (format->suffix.empty()) folder = format;
    if (!format->suffix.empty() && format->suffix == suffix) {
      if (request.shard_bytes == 0) return format->create(request);
      return invalid_argument(
          fmt::format("{}: --shard-size is for folders; a GGUF file is split by --split-max-size",
                      request.out.string()));
    }
  }
  COLDPRESS_CHECK(folder != nullptr);
  return folder->create(request);
}

Result<const ExportFormat*> find_code_format(std::string_view name) {
  std::string known;
  for (const ExportFormat* format : export_table()) {
    if (format->codes == nullptr) continue;
    if (format->name == name) return format;
    known += ", " + std::string(format->name);
  }
  return invalid_argument(
      fmt::format("unknown format '{}' for --format; known: dense{}", name, known));
}

}  // namespace coldpress
