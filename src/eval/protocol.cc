#include "eval/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace coldpress {
namespace {

struct Row {
  EvalProtocol protocol;
  std::string_view name;
  int64_t context;
  int64_t first_scored;
  bool window_bos;  // where the model wants one
  bool parses_special;
  bool universal_newlines;
};

constexpr std::array<Row, 2> kRows = {{
    {EvalProtocol::kGptq2048, "gptq-2048", 2048, 0, false, true, true},
    {EvalProtocol::kLlamaCpp512, "llama.cpp-512", 512, 256, true, false, false},
}};

const Row& row_of(EvalProtocol protocol) {
  for (const Row& row : kRows) {
    if (row.protocol == protocol) return row;
  }
  COLDPRESS_CHECK(false);
}

}  // namespace

std::string_view protocol_name(EvalProtocol protocol) { return row_of(protocol).name; }
int64_t protocol_context(EvalProtocol protocol) { return row_of(protocol).context; }
bool protocol_parses_special(EvalProtocol protocol) { return row_of(protocol).parses_special; }

std::string protocol_text(EvalProtocol protocol, std::string_view text) {
  if (!row_of(protocol).universal_newlines) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') {
      out.push_back(text[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
  }
  return out;
}

Result<EvalProtocol> protocol_from_name(std::string_view name) {
  std::string known;
  for (const Row& row : kRows) {
    if (row.name == name) return row.protocol;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  return invalid_argument(fmt::format("unknown protocol \"{}\" (known: {})", name, known));
}

Result<EvalWindows> cut_eval_windows(EvalProtocol protocol, std::span<const int32_t> tokens,
                                     std::optional<int32_t> bos, int64_t max_windows) {
  const Row& row = row_of(protocol);
  const bool with_bos = row.window_bos && bos.has_value();
  // With BOS the stream has one token more, in front.
  const auto stream_at = [&](int64_t i) {
    if (!with_bos) return tokens[static_cast<std::size_t>(i)];
    return i == 0 ? *bos : tokens[static_cast<std::size_t>(i - 1)];
  };
  const int64_t length = static_cast<int64_t>(tokens.size()) + (with_bos ? 1 : 0);
  int64_t count = length / row.context;
  if (max_windows < 0) {
    return invalid_argument(fmt::format("{} windows: give 0 for all, or more", max_windows));
  }
  if (max_windows > 0) count = std::min(count, max_windows);
  if (count == 0) {
    return invalid_argument(fmt::format(
        "the text has {} tokens, and {} needs at least {} for one window; give a longer "
        "text",
        tokens.size(), row.name, row.context));
  }
  EvalWindows w;
  w.context = row.context;
  w.first_scored = row.first_scored;
  w.scored = row.context - 1 - row.first_scored;
  w.bos = with_bos;
  const auto size = static_cast<std::size_t>(count * row.context);
  w.inputs.reserve(size);
  w.targets.reserve(size);
  for (int64_t i = 0; i < count * row.context; ++i) {
    const int64_t at = i % row.context;
    w.inputs.push_back(at == 0 && with_bos ? *bos : stream_at(i));
    w.targets.push_back(at + 1 < row.context ? stream_at(i + 1) : -1);
  }
  return w;
}

}  // namespace coldpress
