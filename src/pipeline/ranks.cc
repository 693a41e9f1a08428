#include "pipeline/ranks.h"

#include <fmt/format.h>

#include "io/byte_stream.h"
#include "io/json.h"

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
  windows->tokens = in.take_values<int32_t>(in.remaining() / sizeof(int32_t));
  return {};
}

Status share_known(KnownWork* known, Comm& comm) {
  if (comm.size() == 1) return {};
  ByteWriter out;
  out.put(static_cast<uint64_t>(known->linears.size()));
  for (const auto& [tensor, expert] : known->linears) {
    out.put_text(tensor);
    out.put(static_cast<int32_t>(expert));
  }
  for (const auto& [place, scales] : known->scales) {
    for (const int number : {place.block, place.stage, place.step}) {
      out.put(static_cast<int32_t>(number));
    }
    out.put(static_cast<uint64_t>(scales.size()));
    out.put_bytes(std::as_bytes(std::span(scales)));
  }
  std::vector<std::byte> bytes = out.take();
  COLDPRESS_RETURN_IF_ERROR(comm.broadcast(0, &bytes));
  if (comm.rank() == 0) return {};
  *known = {};
  ByteReader in(bytes);
  for (auto left = in.take<uint64_t>(); left > 0 && in.ok(); --left) {
    std::string tensor = in.take_text();
    const auto expert = in.take<int32_t>();
    known->linears.insert({std::move(tensor), expert});
  }
  while (in.ok() && !in.is_done()) {
    const ScaledPlace place{in.take<int32_t>(), in.take<int32_t>(), in.take<int32_t>()};
    known->scales[place] = in.take_values<float>(in.take<uint64_t>());
  }
  return in.ok() ? Status() : corrupt("rank 0 sent a list of work that ends too early");
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
