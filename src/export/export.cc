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
  const ExportFormat* folder = nullptr;
  for (const ExportFormat* format : export_table()) {
    if (format->suffix.empty()) folder = format;
    if (!format->suffix.empty() && format->suffix == suffix) return format->create(request);
  }
  COLDPRESS_CHECK(folder != nullptr);
  return folder->create(request);
}

}  // namespace coldpress
