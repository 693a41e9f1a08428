// The table of output formats (formats/*.cc).
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "export/export.h"

namespace coldpress {

struct ExportFormat {
  std::string_view name;
  std::string_view suffix;  // of the output's name; empty: a folder, whatever its name
  Result<std::unique_ptr<ExportSink>> (*create)(const ExportRequest& request);
};

// Generated from formats/*.cc.
std::span<const ExportFormat* const> export_table();

}  // namespace coldpress
