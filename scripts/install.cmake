# What `cmake --install` puts where: program, both libraries, header, pkg-config file, CMake package, manual pages, completion.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS blemish-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS blemish blemish_shared EXPORT blemish ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES runtime/blemish.h runtime/blemish_vulkan.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# --- pkg-config; relative to where the file lies, so that the whole can be moved ---
file(RELATIVE_PATH UP_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(scripts/blemish.pc.in blemish.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/blemish.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# --- CMake package: blemish::shared, and blemish::blemish, the static one ---
set(PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/blemish)
install(EXPORT blemish NAMESPACE blemish:: FILE blemish-targets.cmake DESTINATION ${PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/blemish-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES scripts/blemish-config.cmake ${CMAKE_BINARY_DIR}/blemish-config-version.cmake DESTINATION ${PACKAGE_DIR})

# --- manual pages and completion: written by the program, so that they say what it does ---
set(PAGES ${CMAKE_BINARY_DIR}/blemish.1)
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/blemish.1 COMMAND blemish-cli help --man > ${CMAKE_BINARY_DIR}/blemish.1 DEPENDS blemish-cli)
file(GLOB COMMAND_SOURCES RELATIVE ${CMAKE_SOURCE_DIR}/cli CONFIGURE_DEPENDS cli/cmd_*.c)
foreach(SOURCE IN LISTS COMMAND_SOURCES)
  string(REGEX REPLACE "cmd_(.*)\\.c" "\\1" NAME ${SOURCE})
  set(PAGE ${CMAKE_BINARY_DIR}/blemish-${NAME}.1)
  add_custom_command(OUTPUT ${PAGE} COMMAND blemish-cli help --man ${NAME} > ${PAGE} DEPENDS blemish-cli)
  list(APPEND PAGES ${PAGE})
endforeach()
install(FILES ${PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
set(SCRIPTS "")
foreach(SHELL bash zsh fish)
  set(SCRIPT ${CMAKE_BINARY_DIR}/completion.${SHELL})
  add_custom_command(OUTPUT ${SCRIPT} COMMAND blemish-cli completion ${SHELL} > ${SCRIPT} DEPENDS blemish-cli)
  list(APPEND SCRIPTS ${SCRIPT})
endforeach()
install(FILES ${CMAKE_BINARY_DIR}/completion.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME blemish)
install(FILES ${CMAKE_BINARY_DIR}/completion.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _blemish)
install(FILES ${CMAKE_BINARY_DIR}/completion.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME blemish.fish)
add_custom_target(manual ALL DEPENDS ${PAGES} ${SCRIPTS})
