#include "pipeline/ranks.h"

#include <fmt/format.h>

#include <cstring>

#include "io/byte_stream.h"

namespace coldpress {

Status check_same_run(const RunFacts& facts, Comm& comm) {
  if (comm.size() == 1) return {};
  ByteWriter out;
  for (const auto& [name, value] : facts) out.put_text(value);
  std::vector<std::byte> bytes = out.take();
  COLDPRESS_RETURN_IF_ERROR(comm.broadcast(0, &bytes));
  ByteReader in(bytes);
  for (const auto& [name, value] : facts) {
    const std::string wanted = in.take_text();
    if (value == wanted) continue;
    return invalid_argument(fmt::format("the {} here is {}, but rank 0 has {}; ranks need the same",
                                        name, value, wanted));
  }
  return {};
}

Status share_windows(CalibrationWindows* windows, Comm& comm) {
  if (comm.size() == 1) return {};
  ByteWriter out;
  out.put(windows->length);
  out.put_bytes(std::as_bytes(std::span(windows->tokens)));
  std::vector<std::byte> bytes = out.take();
  COLDPRESS_RETURN_IF_ERROR(comm.broadcast(0, &bytes));
  if (comm.rank() == 0) return {};
  ByteReader in(bytes);
  windows->length = in.take<int64_t>();
  const auto tokens = in.take_bytes(in.remaining());
  windows->tokens.resize(tokens.size() / sizeof(int32_t));
  if (!tokens.empty()) std::memcpy(windows->tokens.data(), tokens.data(), tokens.size());
  return {};
}

Result<Json> gather_traffic(Comm& comm) {
  Json all = Json::array();
  const auto row = [](const CommTraffic& t) {
    return Json{{"sent_bytes", t.sent_bytes},
                {"received_bytes", t.received_bytes},
                {"messages", t.messages},
                {"waited_seconds", t.waited}};
  };
  if (comm.rank() > 0) {
    const std::string text = row(comm.traffic()).dump();
    COLDPRESS_RETURN_IF_ERROR(comm.send(0, std::as_bytes(std::span(text))));
    return all;
  }
  all.push_back(row(comm.traffic()));
  for (int r = 1; r < comm.size(); ++r) {
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, comm.receive(r));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    COLDPRESS_ASSIGN_OR_RETURN(Json json, parse_json(text, fmt::format("rank {}", r)));
    all.push_back(std::move(json));
  }
  return all;
}

}  // namespace coldpress
