// The table of output formats (formats/*.cc).
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "export/code_format.h"
#include "export/export.h"

namespace coldpress {

struct ExportFormat {
  std::string_view name;
  std::string_view suffix;  // of the output's name; empty: a folder, whatever its name
  Result<std::unique_ptr<ExportSink>> (*create)(const ExportRequest& request);
  const CodeFormat* codes = nullptr;  // of folders whose linears are codes; they are asked for by
                                      // name
};

// Generated from formats/*.cc.
std::span<const ExportFormat* const> export_table();

// The format for codes of that name; an error that lists the known.
Result<const ExportFormat*> find_code_format(std::string_view name);

}  // namespace coldpress
