#include "io/tensor_slots.h"

#include <fmt/format.h>

#include "io/show_name.h"

namespace coldpress {

Status TensorSlots::declare(const std::string& name, uint64_t offset, uint64_t size) {
  if (!slots_.emplace(name, Slot{offset, size}).second) {
    return invalid_argument(
        fmt::format("{}: tensor {} would appear twice", where_, show_name(name)));
  }
  names_.push_back(name);
  return {};
}

void TensorSlots::move(uint64_t by) {
  for (auto& [name, slot] : slots_) slot.offset += by;
}

Status TensorSlots::write(const std::string& name, std::span<const std::byte> data,
                          AtomicFile& file) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) {
    return invalid_argument(fmt::format("{}: tensor {} was not declared", where_, show_name(name)));
  }
  Slot& slot = found->second;
  if (slot.written) {
    return invalid_argument(fmt::format("{}: tensor {} is written twice", where_, show_name(name)));
  }
  if (slot.size != data.size()) {
    return invalid_argument(fmt::format("{}: tensor {} needs {} bytes, not {}", where_,
                                        show_name(name), slot.size, data.size()));
  }
  COLDPRESS_RETURN_IF_ERROR(file.write_at(slot.offset, data));
  slot.written = true;
  return {};
}

Status TensorSlots::check_complete() const {
  for (const std::string& name : names_) {
    if (slots_.at(name).written) continue;
    return invalid_argument(
        fmt::format("{}: tensor {} was never written", where_, show_name(name)));
  }
  return {};
}

}  // namespace coldpress
