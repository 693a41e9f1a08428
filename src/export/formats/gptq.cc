// GPTQ, version 1: zeros less one, so that only symmetric grids are safe from the wrap.
#include "export/folder_sink.h"
#include "export/gptq_codes.h"
#include "export/table.h"
#include "io/json.h"

namespace coldpress {
namespace {

Status check(const GridOptions& grid) {
  COLDPRESS_RETURN_IF_ERROR(gptq::check_bits(grid));
  if (grid.symmetric) return {};
  return invalid_argument(
      "--format gptq is version 1, whose loaders misread a zero of 0; use --symmetric, or "
      "--format gptq-v2");
}

constexpr CodeFormat kCodes = {
    .check = check,
    .check_size = gptq::check_size,
    .stored_type = gptq::stored_type,
    .parts = gptq::parts,
    .pack = [](const GridOptions& options, const QuantGrid& grid,
               View2<const uint8_t> codes) { return gptq::pack(options, grid, codes, 1); },
    .good_zeros =
        [](const GridOptions& grid, int64_t rows, std::span<const std::byte> zeros) {
          return gptq::good_zeros(grid, rows, zeros, 1);
        },
    .keeps_f16 = true,
    .settings = [](const GridOptions& grid,
                   const CodedModel& model) { return gptq::settings(grid, model, "gptq"); },
};

}  // namespace

extern const ExportFormat kExportFormat_gptq;
const ExportFormat kExportFormat_gptq = {
    .name = "gptq",
    .suffix = "",
    .create = open_folder<&kCodes>,
    .codes = &kCodes,
};

}  // namespace coldpress
