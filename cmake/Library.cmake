# libcoldpress: all layers, ggml and llama.cpp in one shared library that shows only the functions of
# src/coldpress/*.h, so that what it is made of neither has to be found nor clashes with a consumer's
# own. And what `cmake --install` lays down: the library, its headers, its CMake package, the program.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(exports ${CMAKE_CURRENT_SOURCE_DIR}/cmake/libcoldpress.map)
add_library(libcoldpress SHARED $<TARGET_OBJECTS:coldpress_coldpress>)
target_link_libraries(libcoldpress PRIVATE ${COLDPRESS_LAYERS})
target_link_options(libcoldpress PRIVATE -Wl,--version-script=${exports})
target_compile_features(libcoldpress INTERFACE cxx_std_20)
target_include_directories(libcoldpress INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
set_target_properties(libcoldpress PROPERTIES
  OUTPUT_NAME coldpress EXPORT_NAME coldpress VERSION ${PROJECT_VERSION} SOVERSION 0
  LINKER_LANGUAGE CXX LINK_DEPENDS ${exports} SKIP_BUILD_RPATH ON)
add_library(coldpress::coldpress ALIAS libcoldpress)

# In the tree includes are relative to src/; an installed header finds all others below coldpress/.
foreach(header IN ITEMS base/check base/memory base/status base/view coldpress/coldpress coldpress/evaluate
        coldpress/method coldpress/quantize coldpress/solve coldpress/version)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/src/${header}.h)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} text)
  string(REPLACE "#include \"base/" "#include \"coldpress/base/" text "${text}")
  string(REGEX REPLACE "^coldpress/" "" below ${header})
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/include/coldpress/${below}.h CONTENT "${text}"
    @ONLY)
endforeach()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/coldpress)
install(DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/include/coldpress DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS libcoldpress EXPORT coldpressTargets)
install(EXPORT coldpressTargets FILE coldpressConfig.cmake NAMESPACE coldpress:: DESTINATION ${package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/coldpressConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/coldpressConfigVersion.cmake DESTINATION ${package})
install(TARGETS coldpress)
