// Any bytes as a layer solution: an error, or a solution whose parts fit together.
#include <cstdint>
#include <span>

#include "grid/table.h"
#include "solver/solution_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace coldpress;
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const char* kind : {"affine", "q4_k", "iq2_xxs"}) {
    const auto solution = solution_from_bytes(bytes, **find_grid(kind), "fuzz");
    if (!solution.ok()) continue;
    MatrixF w(solution->codes.rows(), solution->codes.cols());
    decode(solution->grid, solution->codes.view(), w.view());
    solution->side.add_to(w.view());
  }
  return 0;
}
